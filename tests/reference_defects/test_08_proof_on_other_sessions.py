"""08: a hint is kept after one success on its own session, by a model that saw the target."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage
from testing.answering import (
    WRONG,
    Place,
    make_catalog,
    make_components,
    make_session,
    prompts_of,
    targets_of,
    world,
)

from agentrec.app.learning.exploration import Exploration, explore
from agentrec.components import Components
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.hints import STATES
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS = [make_session(number) for number in range(19)]
OWN = SESSIONS[0]
LAST = make_catalog().labels[OWN.items[-1]]
HINT = "Prefer old films."


def model_of(position: Place, proposals: Sequence[str]) -> ScriptedChatModel:
    targets = targets_of(SESSIONS, make_catalog())
    return ScriptedChatModel([world(position, targets, proposals)] * 200)


async def explored(components: Components) -> Exploration:
    """Learn from the first session alone, with all of them at hand to try hints on."""
    return await explore(
        [OWN], components, build_hint_learning_graph(), 1, lambda: None, SESSIONS, len(SESSIONS)
    )


def repairs_its_own_and_harms_others(hint: str | None, last: str) -> int | str:
    if last == LAST:
        return WRONG if hint is None else 1
    return 2 if hint is None else 5


def helps_everybody(hint: str | None, last: str) -> int | str:
    if last == LAST:
        return WRONG if hint is None else 1
    return 5 if hint is None else 2


async def test_08_a_hint_that_repairs_its_own_session_and_harms_others_is_not_used() -> None:
    components = make_components(model_of(repairs_its_own_and_harms_others, [HINT]))
    done = await explored(components)
    assert done.hints == ()
    assert done.refusals == {"does not help on other sessions": 1}
    (nominated,) = await components.hint_store.all(STATES)
    assert (nominated.text, nominated.state) == (HINT, "nominated")
    query = components.embeddings.embed_query(HINT)
    assert await components.hint_store.search(query, 10) == []


async def test_08_what_a_hint_is_admitted_on_leaves_its_own_session_out() -> None:
    components = make_components(model_of(helps_everybody, [HINT]))
    (hint,) = (await explored(components)).hints
    assert hint.provenance is not None
    assert hint.provenance.session_id == OWN.session_id
    assert hint.evidence is not None
    assert set(hint.evidence.effects) == {session.session_id for session in SESSIONS[1:]}
    assert hint.evidence.low > 0
    assert hint.evidence.harm_rate == 0


async def test_08_a_hint_that_gives_the_target_away_is_never_tried() -> None:
    leaks = ["Prefer Heat.", "Put heat (1971) first.", "Watch H.e.a.t. next."]
    model = model_of(lambda hint, _: 1 if hint else WRONG, leaks)
    components = make_components(model)
    done = await explored(components)
    assert components.catalog[OWN.target or ""].title == "Heat"
    assert done.refusals == {"names the target": len(leaks)}
    assert await components.hint_store.all(STATES) == []
    # The session itself was ranked, without a hint.
    assert len(prompts_of(model, "rank")) == 1


async def test_08_the_target_is_hidden_from_the_critique_and_from_every_ranking() -> None:
    answer = world(helps_everybody, targets_of(SESSIONS, make_catalog()), [HINT])
    model = ScriptedChatModel([answer] * 200)
    await explored(make_components(model))
    (critique,) = prompts_of(model, "critique")
    assert "Heat" not in critique
    assert all("<target>" not in prompt for prompt in prompts_of(model, "rank"))
    # What a trial is asked follows from session and hint alone, never from the conversation
    # in which the model saw the target.
    assert all(kinds_of(messages) == ["system", "human"] for messages in model.calls)


def kinds_of(messages: Sequence[BaseMessage]) -> list[str]:
    return [message.type for message in messages]
