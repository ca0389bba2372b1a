"""Reflection on an error: critique, diagnosis, hints.

Source: Re2LLM (arXiv 2403.16427), reflective exploration.
"""

from __future__ import annotations

from agentrec.components import Components
from agentrec.graphs.recommendation.ranking import view_of
from agentrec.llm.answers.answer_schemas import ProposedHints
from agentrec.llm.answers.parsing import parse_lines
from agentrec.llm.prompts.session_view import as_data, capped_label, numbered
from agentrec.rankings import Ranking
from agentrec.sessions import Session

MAX_REFLECTION = 1000
HINTS_PER_ERROR = 3


async def critique(session: Session, ranking: Ranking, components: Components) -> str:
    """Ask what may be wrong with a ranking; the target stays hidden.

    Raises:
        ModelCallError: If the call failed.
    """
    messages = components.prompts.render("critique", _shown(session, ranking, components))
    return await components.gateway.ask("critique", messages)


async def diagnose(
    session: Session, ranking: Ranking, critique_text: str, components: Components
) -> str:
    """Ask why the target was missed; the target is shown.

    Raises:
        ModelCallError: If the call failed.
    """
    values = {
        **_shown(session, ranking, components),
        "target": _target(session, components),
        "critique": as_data(critique_text[:MAX_REFLECTION]),
    }
    return await components.gateway.ask("diagnose", components.prompts.render("diagnose", values))


async def propose_hints(
    session: Session, ranking: Ranking, diagnosis: str, components: Components
) -> list[str]:
    """Ask for hints, one for each cause.

    Returns:
        Up to three sentences as the model wrote them, not checked yet.

    Raises:
        ModelCallError: If the call failed.
    """
    values: dict[str, str | int] = {
        **_shown(session, ranking, components),
        "target": _target(session, components),
        "diagnosis": as_data(diagnosis[:MAX_REFLECTION]),
        "count": HINTS_PER_ERROR,
    }
    messages = components.prompts.render("hints", values)
    answer = await components.gateway.ask("hints", messages, schema=ProposedHints)
    return parse_lines(answer, HINTS_PER_ERROR)


def _shown(session: Session, ranking: Ranking, components: Components) -> dict[str, str]:
    labels = [_label(item_id, components) for item_id in ranking.item_ids]
    history = view_of(session, components).history_block
    return {"history": history, "predictions": numbered(labels)}


def _target(session: Session, components: Components) -> str:
    if session.target is None:
        raise ValueError(f"session {session.session_id!r} has no target to learn from")
    return as_data(_label(session.target, components))


def _label(item_id: str, components: Components) -> str:
    return capped_label(components.catalog.labels[item_id], components.label_length)
