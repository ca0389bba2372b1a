"""Asking the model for a ranking, and grounding its answer in the candidates."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage

from agentrec.components import Components
from agentrec.hints import Hint
from agentrec.llm.answers import parse_ranking
from agentrec.llm.session_view import SessionView, hint_block
from agentrec.rankings import Ranking
from agentrec.sessions import Session


@dataclass(frozen=True)
class RankingAnswer:
    """A model's answer, not yet read.

    Attributes:
        view: What the model was shown.
        messages: The conversation up to the answer.
        text: The answer.
        hint: The hint it was given, if any.
    """

    view: SessionView
    messages: tuple[BaseMessage, ...]
    text: str
    hint: Hint | None


async def recommend(session: Session, hint: Hint | None, components: Components) -> RankingAnswer:
    """Ask for the candidates a user most likely chooses next.

    The same prompt serves exploration, training and use, whatever the hint; without a hint the
    prompt has no trace of one.

    Args:
        session: A session with candidates.
        hint: Advice to the model, or none.
        components: The parts.

    Raises:
        ModelCallError: If the call failed.
    """
    view = SessionView.of(session, components.catalog, components.seed)
    messages = components.prompts.render(
        "recommend",
        {
            "history": view.history_block,
            "candidates": view.candidate_block,
            "hint": hint_block(None if hint is None else hint.text),
            "count": min(components.list_length, len(view.candidate_ids)),
        },
    )
    text = await components.model.ask("recommend", messages)
    return RankingAnswer(view, tuple(messages), text, hint)


async def ground(answer: RankingAnswer, components: Components) -> Ranking:
    """Make a valid ranking of an answer: read it, ask once more if it falls short, fill up.

    Returns:
        Exactly ``list_length`` candidates (all of them where there are fewer), each once. What
        the model did not name is filled up in the order in which candidates were shown, which
        is a random one.

    Raises:
        ModelCallError: If the second call failed.
    """
    count = min(components.list_length, len(answer.view.candidate_ids))
    parsed = parse_ranking(answer.text, answer.view)
    illegal = parsed.illegal
    repaired = len(parsed.item_ids) < count
    if repaired:
        request = components.prompts.render(
            "repair", {"valid": len(parsed.item_ids), "illegal": illegal, "count": count}
        )
        # Half a surrogate pair, as of an answer cut off inside a character, fits in no message.
        given = answer.text.encode("utf-8", "replace").decode("utf-8")
        messages = [*answer.messages, AIMessage(given), *request]
        second = parse_ranking(await components.model.ask("repair", messages), answer.view)
        illegal += second.illegal
        if len(second.item_ids) > len(parsed.item_ids):
            parsed = second
    named = parsed.item_ids[:count]
    missing = [item_id for item_id in answer.view.candidate_ids if item_id not in named]
    return Ranking(
        session_id=answer.view.session_id,
        item_ids=(*named, *missing[: count - len(named)]),
        hint_id=None if answer.hint is None else answer.hint.hint_id,
        backfilled=count - len(named),
        illegal=illegal,
        repaired=repaired,
    )


async def rank(session: Session, hint: Hint | None, components: Components) -> Ranking:
    """Ask and ground in one step."""
    return await ground(await recommend(session, hint, components), components)
