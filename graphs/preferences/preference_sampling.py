"""Asking a model what a user prefers, once or several times.

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
    """Ask once for a catalogue what matters to people who choose from it.

    The same catalogue is asked about in the same words, so the journal answers from the second
    time on. A model that names nothing of the kind, as the embedded one, is done without: then
    it is the items' attributes that matter.

    Args:
        components: The parts.
        count: How many factors at most, at least 1.

    Returns:
        At least one factor, none twice.

    Raises:
        ModelCallError: If the call failed.
    """
    labels = list(components.catalog.labels.values())
    step = max(1, len(labels) // _SHOWN_ITEMS)
    shown = numbered(labels[::step][:_SHOWN_ITEMS])
    messages = components.prompts.render("factors", {"items": shown, "count": count})
    answer = await components.gateway.ask("factors", messages)
    named = (clean_text(line, MAX_FACTOR_LENGTH).strip(" .:") for line in parse_lines(answer, 50))
    # A sentence is no factor: the model talks of something else.
    found = [one for one in named if one and len(one.split()) <= _LONGEST_FACTOR]
    unique = tuple({one.casefold(): one for one in reversed(found)}.values())[::-1][:count]
    return unique if len(unique) > 1 else known_factors(components.catalog, count)


def known_factors(catalog: Catalog, count: int = MOST_FACTORS) -> tuple[str, ...]:
    """The attributes that most items have, most frequent first; ``taste`` where there are none."""
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
    """The question what a user prefers, with the first part of the history.

    Args:
        session: The session; its target and candidates are not shown.
        factors: What to speak of, at least one.
        share: Share of the history to show, above 0 to 1.
        components: The parts.
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
        factors: What to speak of, at least one.
        components: The parts.
        share: Share of the history to show, above 0 to 1.
        sampling: How the text is sampled; ``None`` for the model's own parameters.

    Returns:
        The text, cleaned and not checked for its structure; empty if nothing was written.

    Raises:
        ModelCallError: If the call failed.
    """
    messages = preference_prompt(session, factors, share, components)
    # Drawn texts become examples to train on, and a schema would be none of the model's own form.
    schema = StatedPreferences if sampling is None else None
    answer = await components.gateway.ask("preference", messages, schema=schema, sampling=sampling)
    return clean_lines(answer)


@dataclass(frozen=True)
class TextAttempt:
    """What came of asking for one text.

    Attributes:
        text: The text; empty where there is none.
        failure: Why there is none; ``None`` where there is one.
    """

    text: str
    failure: str | None = None


async def attempt_preference(
    session: Session,
    factors: Sequence[str],
    components: Components,
    *,
    share: float = 1.0,
    sampling: Sampling | None = None,
) -> TextAttempt:
    """As ``write_preference``, but a failure is told, so that it costs no other text.

    Raises:
        ModelCallError: If the budget is spent: the end of the run, not of this text.
    """
    try:
        text = await write_preference(session, factors, components, share=share, sampling=sampling)
    except ModelCallError as error:
        if error.kind == "budget_spent":
            raise
        return TextAttempt("", str(error))
    return TextAttempt(text, None if text else "nothing was written")


def turns_of(messages: Sequence[BaseMessage]) -> tuple[ChatTurn, ...]:
    """A prompt in the form in which pairs keep it."""
    return tuple(
        ChatTurn.model_validate({"role": _ROLES[message.type], "content": message.text})
        for message in messages
    )
