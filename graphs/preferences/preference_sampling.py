"""Sample preference texts: ask a model what a user prefers.

Source: RLRF4Rec, preference generation; the first part of a history alone is shown, as in KAR
(arXiv 2306.10933).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from agentrec.catalog import Catalog, clean_text
from agentrec.components import Components
from agentrec.continuations import first_part
from agentrec.errors import ModelCallError
from agentrec.graphs.recommendation.ranking import view_of
from agentrec.llm.answers.answer_schemas import StatedPreferences
from agentrec.llm.answers.parsing import parse_lines
from agentrec.llm.answers.preference_statements import MAX_FACTOR_LENGTH, factor_block
from agentrec.llm.gateway.requests import Sampling
from agentrec.llm.prompts.session_view import numbered
from agentrec.preferences import ChatTurn, clean_lines
from agentrec.sessions import Session

MOST_FACTORS = 8
_SHOWN_ITEMS = 40
_LONGEST_FACTOR = 4
_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


async def find_factors(components: Components, count: int = MOST_FACTORS) -> tuple[str, ...]:
    """Ask what matters to people who choose from a catalogue.

    The same catalogue makes the same prompt, so the journal answers from the second time on. If
    the model names no factors, as the embedded one, the items' attributes are the factors.

    Args:
        components: The components.
        count: Most factors, at least 1.

    Returns:
        At least one factor, each once.

    Raises:
        ModelCallError: If the call failed.
    """
    labels = list(components.catalog.labels.values())
    step = max(1, len(labels) // _SHOWN_ITEMS)
    shown = numbered(labels[::step][:_SHOWN_ITEMS])
    messages = components.prompts.render("factors", {"items": shown, "count": count})
    answer = await components.gateway.ask("factors", messages)
    named = (clean_text(line, MAX_FACTOR_LENGTH).strip(" .:") for line in parse_lines(answer, 50))
    # A sentence is no factor: the model writes about something else.
    found = [one for one in named if one and len(one.split()) <= _LONGEST_FACTOR]
    unique = tuple({one.casefold(): one for one in reversed(found)}.values())[::-1][:count]
    return unique if len(unique) > 1 else known_factors(components.catalog, count)


def known_factors(catalog: Catalog, count: int = MOST_FACTORS) -> tuple[str, ...]:
    """Return the attributes of most items, most frequent first; ``taste`` if there are none."""
    times: dict[str, int] = {}
    for item in catalog.values():
        for name in item.attributes:
            times[name] = times.get(name, 0) + 1
    often = [name for name in times if times[name] * 2 >= len(catalog)]
    often.sort(key=lambda name: -times[name])
    cleaned = (clean_text(name.replace("_", " "), MAX_FACTOR_LENGTH) for name in often[:count])
    return tuple(dict.fromkeys(name for name in cleaned if name)) or ("taste",)


def preference_prompt(
    session: Session, factors: Sequence[str], share: float, components: Components
) -> list[BaseMessage]:
    """Return the prompt that asks what a user prefers.

    Args:
        session: The session; its target and candidates are not shown.
        factors: What the text should be about, at least one.
        share: Share of the history to show, above 0 to 1: its first part.
        components: The components.
    """
    view = view_of(first_part(session, share), components)
    values = {"history": view.history_block, "factors": factor_block(factors)}
    return components.prompts.render("preference", values)


async def write_preference(
    session: Session,
    factors: Sequence[str],
    components: Components,
    *,
    share: float = 1.0,
    sampling: Sampling | None = None,
) -> str:
    """Ask a model what the user of a session prefers.

    Args:
        session: The session; its target and candidates are not shown.
        factors: What the text should be about, at least one.
        components: The components.
        share: Share of the history to show, above 0 to 1: its first part.
        sampling: Temperature and seed; ``None`` for the model's own.

    Returns:
        The text, cleaned but not checked for its structure; empty if nothing was written.

    Raises:
        ModelCallError: If the call failed.
    """
    messages = preference_prompt(session, factors, share, components)
    # Sampled texts become training examples, in the model's own form: without a schema.
    schema = StatedPreferences if sampling is None else None
    answer = await components.gateway.ask("preference", messages, schema=schema, sampling=sampling)
    return clean_lines(answer)


@dataclass(frozen=True)
class SampledText:
    """A text, or the reason why there is none.

    Attributes:
        text: The text; empty if there is none.
        failure: Why there is none; ``None`` if there is one.
    """

    text: str
    failure: str | None = None


async def sample_preference(
    session: Session,
    factors: Sequence[str],
    components: Components,
    *,
    share: float = 1.0,
    sampling: Sampling | None = None,
) -> SampledText:
    """Call ``write_preference`` and return a failure instead of raising it.

    Raises:
        ModelCallError: If the budget is spent, which ends the run.
    """
    try:
        text = await write_preference(session, factors, components, share=share, sampling=sampling)
    except ModelCallError as error:
        if error.kind == "budget_spent":
            raise
        return SampledText("", str(error))
    return SampledText(text, None if text else "nothing was written")


def turns_of(messages: Sequence[BaseMessage]) -> tuple[ChatTurn, ...]:
    """Return a prompt in the form in which pairs store it."""
    return tuple(
        ChatTurn.model_validate({"role": _ROLES[message.type], "content": message.text})
        for message in messages
    )


def check_share(share: float) -> None:
    """Check the share of a history that texts are written from.

    Raises:
        ValueError: If it is not above 0 to 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"shown_share must be above 0 and at most 1, not {share}")
