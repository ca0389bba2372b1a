"""Ask the model for a ranking, and ground its answer in the candidates."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage

from agentrec.components import Components
from agentrec.graphs.recommendation.rank_fusion import fuse_rankings, gather_successes
from agentrec.hints import Hint
from agentrec.llm.answers.answer_schemas import RankedCandidates
from agentrec.llm.answers.parsing import parse_ranking
from agentrec.llm.prompts.session_view import SessionView, hint_block, preference_block
from agentrec.rankings import Ranking
from agentrec.sessions import Session


@dataclass(frozen=True)
class RankingAnswer:
    """A model's answer, not parsed yet.

    Attributes:
        session: The session.
        view: The session as the prompt shows it.
        messages: The conversation up to the answer.
        text: The answer.
        hint: The hint in the prompt, if any.
    """

    session: Session
    view: SessionView
    messages: tuple[BaseMessage, ...]
    text: str
    hint: Hint | None


def view_of(session: Session, components: Components, attempt: int = 0) -> SessionView:
    """Return a session as prompts show it.

    Args:
        session: A session with candidates.
        components: The components.
        attempt: Number of the request for this session, from 0; each has another order.
    """
    return SessionView.of(
        session,
        components.catalog,
        components.seed,
        attempt=attempt,
        max_candidates=components.max_candidates,
        label_length=components.label_length,
        ordered=components.candidates_ordered,
    )


async def recommend(
    session: Session,
    hint: Hint | None,
    components: Components,
    attempt: int = 0,
    preference: str | None = None,
) -> RankingAnswer:
    """Ask for the candidates that a user most likely chooses next.

    Exploration, training and use share one prompt; without a hint it has no trace of one.

    Args:
        session: A session with candidates.
        hint: Advice to the model, or none.
        components: The components.
        attempt: Number of the request for this session, from 0; each has another order of the
            candidates.
        preference: A text about the user's preferences, or none.

    Raises:
        ModelCallError: If the call failed.
    """
    view = view_of(session, components, attempt)
    messages = components.prompts.render(
        "recommend",
        {
            "history": view.history_block,
            "candidates": view.candidate_block,
            "hint": hint_block(None if hint is None else hint.text) + preference_block(preference),
            "count": min(components.list_length, len(view.candidate_ids)),
        },
    )
    text = await components.gateway.ask("recommend", messages, schema=RankedCandidates)
    return RankingAnswer(session, view, tuple(messages), text, hint)


async def ground(answer: RankingAnswer, components: Components) -> Ranking:
    """Make a valid ranking from an answer: parse it, ask once more if it falls short, backfill.

    Returns:
        Exactly ``list_length`` candidates (all if there are fewer), each once. Candidates that the
        model did not name follow in the order of the base ranker, if there is one; else in the
        order of the prompt (random, or the caller's where candidates come ordered), those that
        were not shown last.

    Raises:
        ModelCallError: If the second call failed.
    """
    view = answer.view
    filling: Sequence[str] = view.fill_ids or view.candidate_ids
    count = min(components.list_length, len(filling))
    asked = min(count, len(view.candidate_ids))
    parsed = parse_ranking(answer.text, view)
    illegal = parsed.illegal
    repaired = len(parsed.item_ids) < asked
    if repaired:
        request = components.prompts.render(
            "repair", {"valid": len(parsed.item_ids), "illegal": illegal, "count": asked}
        )
        # An answer that was cut inside a character may end with half a surrogate pair.
        given = answer.text.encode("utf-8", "replace").decode("utf-8")
        messages = [*answer.messages, AIMessage(given), *request]
        text = await components.gateway.ask("repair", messages, schema=RankedCandidates)
        second = parse_ranking(text, view)
        illegal += second.illegal
        if len(second.item_ids) > len(parsed.item_ids):
            parsed = second
    named = parsed.item_ids[:count]
    missing: list[str] = []
    if len(named) < count:
        filling = await _in_base_order(filling, answer.session, components)
        missing = [item_id for item_id in filling if item_id not in named]
    return Ranking(
        session_id=view.session_id,
        item_ids=(*named, *missing[: count - len(named)]),
        hint_id=None if answer.hint is None else answer.hint.hint_id,
        backfilled=count - len(named),
        illegal=illegal,
        repaired=repaired,
        structured=parsed.structured,
        notes=view.notes,
    )


async def _in_base_order(
    filling: Sequence[str], session: Session, components: Components
) -> Sequence[str]:
    """Return candidates in the base ranker's order; those that it does not rank come last."""
    if components.base_ranker is None:
        return filling
    ranked = await asyncio.to_thread(components.base_ranker.rank, session)
    order = {item_id: position for position, item_id in enumerate(ranked)}
    return sorted(filling, key=lambda item_id: order.get(item_id, len(ranked)))


async def recommend_shuffled(
    session: Session, hint: Hint | None, components: Components, preference: str | None = None
) -> tuple[list[RankingAnswer], tuple[str, ...]]:
    """Ask ``components.shuffles`` times at once, each time with another order of the candidates.

    Returns:
        The answers, at least one, and a note if a request failed.

    Raises:
        ModelCallError: If every request failed.
    """
    return await gather_successes(
        recommend(session, hint, components, attempt, preference)
        for attempt in range(components.shuffles)
    )


async def ground_shuffled(
    answers: Sequence[RankingAnswer], components: Components, notes: Sequence[str] = ()
) -> Ranking:
    """Ground each answer and fuse the rankings by ``reciprocal_rank_fusion``.

    Raises:
        ModelCallError: If every answer needed a second request and all of these failed.
    """
    rankings, failed = await gather_successes(
        (ground(answer, components) for answer in answers), "answers were lost in repair"
    )
    return fuse_rankings(rankings, (*notes, *failed))


async def rank(
    session: Session, hint: Hint | None, components: Components, preference: str | None = None
) -> Ranking:
    """Ask and ground in one step, ``components.shuffles`` times.

    Args:
        session: A session with candidates.
        hint: Advice to the model, or none.
        components: The components.
        preference: A text about the user's preferences, or none.

    Raises:
        ModelCallError: If no request led to a ranking.
    """
    answers, notes = await recommend_shuffled(session, hint, components, preference)
    return await ground_shuffled(answers, components, notes)
