"""Having preference texts written for many sessions, one each."""

from __future__ import annotations

from collections.abc import Sequence

from agentrec.components import Components
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.graphs.preferences.preference_sampling import (
    SampledText,
    find_factors,
    sample_preference,
)
from agentrec.llm.gateway.requests import Sampling, sample_seed
from agentrec.runs.open_run import OpenRun
from agentrec.sessions import Session
from agentrec.streaming.stream import map_concurrently


async def factors_of(parts: OpenRun) -> tuple[str, ...]:
    """What preferences are about: the embedded model knows its own, any other is asked once.

    Raises:
        ModelCallError: If the call failed.
    """
    model = parts.components.gateway.model
    if isinstance(model, CatalogChatModel):
        return model.catalog_model.vocabulary.factors
    return await find_factors(parts.components)


async def texts_for(
    title: str,
    sessions: Sequence[Session],
    factors: Sequence[str],
    parts: OpenRun,
    *,
    share: float,
    temperature: float | None = None,
    samples: int = 1,
    components: Components | None = None,
) -> list[str | None]:
    """Have texts written for sessions; what was written before is not paid for again.

    How many could not be written is shown with the progress.

    Args:
        title: What is being done, for people.
        sessions: The sessions.
        factors: What the texts are about.
        parts: The run.
        share: Share of a history that texts are written from, above 0 to 1: its first part.
        temperature: At which texts are drawn, above 0; ``None`` for as the model's parameters say.
        samples: Texts a session, at least 1; without a temperature all would be the same.
        components: Who writes; ``None`` for those of the run.

    Returns:
        The first text of every session, then the second of every one, and so on,
        ``[samples * sessions]``; ``None`` where there is none, so that one failure costs no other
        text.

    Raises:
        ModelCallError: If the budget is spent.
    """
    seed = parts.settings.seed

    async def attempted(wanted: tuple[int, Session]) -> SampledText:
        sample, session = wanted
        sampling = None
        if temperature is not None:
            sampling = Sampling(temperature, sample_seed(seed, session.session_id, sample))
        return await sample_preference(
            session, factors, components or parts.components, share=share, sampling=sampling
        )

    wanted = [(sample, session) for sample in range(samples) for session in sessions]
    with parts.display.counting(title, len(wanted)) as advance:
        attempts = await map_concurrently(wanted, attempted, parts.concurrency, advance)
    failures = [one.failure for one in attempts if one.failure is not None]
    if failures:
        parts.display.say(
            f"{title}: {len(failures)} of {len(wanted)} could not be written, and what they are for"
            f" is done without. The first: {failures[0]}"
        )
    return [one.text if one.failure is None else None for one in attempts]
