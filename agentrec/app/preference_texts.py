"""Having preference texts written for many sessions, one each."""

from __future__ import annotations

from collections.abc import Sequence

from agentrec.app.prefer_settings import PreferSettings
from agentrec.app.run_parts import RunParts
from agentrec.errors import ModelCallError
from agentrec.graphs.preferring import find_factors, write_preference
from agentrec.llm.catalog_lm.chat_model import CatalogChatModel
from agentrec.llm.draws import Draw, seed_of
from agentrec.runs.concurrency import map_concurrently
from agentrec.sessions import Session


async def factors_of(parts: RunParts) -> tuple[str, ...]:
    """What preferences are about: the embedded model knows its own, any other is asked once.

    Raises:
        ModelCallError: If the call failed.
    """
    model = parts.components.model.model
    if isinstance(model, CatalogChatModel):
        return model.catalog_model.vocabulary.factors
    return await find_factors(parts.components)


async def texts_for(
    title: str,
    sessions: Sequence[Session],
    factors: Sequence[str],
    parts: RunParts,
    prefer: PreferSettings,
    *,
    sample: int = 0,
) -> list[str]:
    """Have one text written for each session; what was written before is not paid for again.

    Args:
        title: What is being done, for people.
        sessions: The sessions.
        factors: What the texts are about.
        parts: The run.
        prefer: How texts are drawn.
        sample: Which of a session's texts, from 0.

    Returns:
        A text a session; empty where the model failed for good, so that one failure costs no
        other text.

    Raises:
        ModelCallError: If the budget is spent.
    """
    seed = parts.settings.seed

    async def written(session: Session) -> str:
        draw = Draw(prefer.temperature, seed_of(seed, session.session_id, sample))
        try:
            return await write_preference(
                session, factors, parts.components, share=prefer.shown_share, draw=draw
            )
        except ModelCallError as error:
            if error.kind == "budget_spent":
                raise
            return ""

    with parts.display.counting(title, len(sessions)) as advance:
        return await map_concurrently(sessions, written, parts.concurrency, advance)
