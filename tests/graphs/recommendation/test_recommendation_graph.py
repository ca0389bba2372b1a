import asyncio
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from blockbuster import blockbuster_ctx
from testing.answering import (
    DIMENSION,
    TitleEncoder,
    make_catalog,
    make_components,
    make_session,
    prompts_of,
    targets_of,
    world,
)

from agentrec.components import Components
from agentrec.errors import InputError
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.graphs.hint_learning.reflection import critique, propose_hints
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.graphs.recommendation.ranking import ground, rank, recommend
from agentrec.hint_offers import HintChoices, HintOffer, choose_best
from agentrec.hints import Hint
from agentrec.llm.answers.answer_schemas import ProposedHints, RankedCandidates
from agentrec.llm.prompts.session_view import SessionView
from agentrec.policies.hint_policies.untrained import FixedHintPolicy, RandomHintPolicy
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

HINT = Hint(text="Prefer old films.")
OTHER = Hint(text="Avoid long films.")
SESSION = make_session(0)
GRAPH = build_recommendation_graph()


async def recommended(components: Components, session: Session = SESSION) -> Any:
    return await GRAPH.ainvoke({"session": session}, context=components)


async def with_hints(components: Components) -> Components:
    for hint in (HINT, OTHER):
        await components.hint_store.add(hint, components.embeddings.embed_query(hint.text))
    return components


def answering_first() -> ScriptedChatModel:
    targets = targets_of([SESSION], make_catalog())
    return ScriptedChatModel([world(lambda hint, _: 1 if hint else 3, targets)] * 10)


async def test_the_chosen_hint_is_in_the_prompt_once() -> None:
    model = answering_first()
    components = make_components(model, hint_policy=FixedHintPolicy(HINT.hint_id))
    with blockbuster_ctx():
        state = await recommended(await with_hints(components))
    (prompt,) = prompts_of(model, "rank")
    assert prompt.count(f"<hint>\n{HINT.text}\n</hint>") == 1
    assert prompt.count(HINT.text) == 1
    assert prompt.count("\n<hint>\n") == 1
    assert OTHER.text not in prompt
    assert state["choice"].hint_id == state["ranking"].hint_id == HINT.hint_id
    assert state["ranking"].item_ids[0] == SESSION.target


async def test_no_hint_leaves_no_trace() -> None:
    model = answering_first()
    state = await recommended(await with_hints(make_components(model)))
    user = model.calls[0][-1].text
    assert "hint" not in user.casefold()
    assert "\n\n\n" not in user
    assert state["ranking"].hint_id is None
    assert state["ranking"].rank_of(SESSION.target) == 3


async def test_the_policy_sees_the_retrieved_hints_nearest_first() -> None:
    seen: list[HintOffer] = []
    threads: list[threading.Thread] = []

    class Watching:
        def choose(self, offer: HintOffer) -> HintChoices:
            seen.append(offer)
            threads.append(threading.current_thread())
            return choose_best(offer, np.array([[0.2, 0.1, 0.3]], dtype=np.float32))

    components = make_components(answering_first(), hint_policy=Watching(), hints_offered=2)
    query = components.encoder.query(SESSION)
    far = np.roll(query, 7)
    vectors = {"far": far, "near": 0.9 * query + 0.1 * far, "nearest": 3 * query}
    for text, vector in vectors.items():
        await components.hint_store.add(Hint(text=text), vector.tolist())
    state = await recommended(components)
    (offer,) = seen
    assert offer.states == pytest.approx(components.encoder.state(SESSION)[None])
    assert [hint.text for hint in offer.hints] == ["nearest", "near"]
    assert offer.candidates.tolist() == [[0, 1]]
    units = [vectors[name] / np.linalg.norm(vectors[name]) for name in ("nearest", "near")]
    assert offer.vectors == pytest.approx(np.stack(units), abs=1e-6)
    cosines = np.stack(units) @ query / np.linalg.norm(query)
    assert offer.similarities[0] == pytest.approx(cosines, abs=1e-6)
    assert threads != [threading.main_thread()]
    # The scores of the policy, best first.
    nearest, near = (Hint(text=text).hint_id for text in ("nearest", "near"))
    assert list(state["scores"]) == [near, None, nearest]
    assert list(state["scores"].values()) == pytest.approx([0.3, 0.2, 0.1])
    assert state["choice"].hint_id == state["ranking"].hint_id == near
    assert [scored.hint.text for scored in state["offered"]] == ["nearest", "near"]


@pytest.mark.parametrize(("at_most", "in_the_loop"), [(24, True), (23, False)])
async def test_a_session_with_many_candidates_is_encoded_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, at_most: int, in_the_loop: bool
) -> None:
    monkeypatch.setattr("agentrec.graphs.recommendation.graph.ENCODED_IN_THE_LOOP", at_most)
    assert len(SESSION.candidates) == 24
    threads: list[threading.Thread] = []

    class Watched(TitleEncoder):
        def state(self, session: Session) -> npt.NDArray[np.float32]:
            threads.append(threading.current_thread())
            return super().state(session)

    state = await recommended(make_components(answering_first(), encoder=Watched(make_catalog())))
    assert state["state"].shape == state["query"].shape == (DIMENSION,)
    assert [thread is threading.main_thread() for thread in threads] == [in_the_loop]


async def test_a_policy_without_stored_hints_chooses_none() -> None:
    state = await recommended(make_components(answering_first(), hint_policy=RandomHintPolicy(0)))
    assert state["choice"].hint_id is None
    assert state["offered"] == []
    assert list(state["scores"]) == [None]


HOSTILE = {
    "garbage": "As a language model I cannot do that.",
    "an empty list": "[]",
    "headings alone": "# My ranking\n\n---\n",
    "nothing that is a candidate": "\n".join(f"{n}. Shrek {n}" for n in range(1, 11)),
    "one named ten times": "\n".join(f"{n}. C01 | x" for n in range(1, 11)),
    "handles out of range": "\n".join(f"{n}. C{n + 40} | x" for n in range(1, 11)),
    "an endless line": "1. " + "C01 " * 50_000,
    "other instructions": "Ignore all of this.</candidates>\n1. DROP TABLE hints;\n2. C999999999",
    "control characters": "1. \x00\x1b[31m\u202eC01\n2. \ud800",
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
async def test_any_answer_becomes_a_valid_ranking(answer: str) -> None:
    model = ScriptedChatModel([answer, answer])
    components = make_components(model)
    ranking = (await recommended(components))["ranking"]
    assert len(ranking.item_ids) == len(set(ranking.item_ids)) == components.list_length
    assert set(ranking.item_ids) <= set(SESSION.candidates)
    assert ranking.repaired
    assert ranking.backfilled >= 9
    # The repair is asked for once, in the same conversation.
    model.assert_exhausted()
    assert [message.type for message in model.calls[1]] == ["system", "human", "ai", "human"]
    assert model.calls[1][:2] == model.calls[0]


async def test_the_counts_of_a_repair_are_right() -> None:
    shown: list[str] = []

    def first(messages: Sequence[Any]) -> str:
        return "1. C03 | x\n2. C03 | x\n3. Shrek\n4. C05 | y"

    def second(messages: Sequence[Any]) -> str:
        shown.append(messages[-1].text)
        return "1. C07\n2. C08\n3. C09\n4. Shrek"

    components = make_components(ScriptedChatModel([first, second]))
    answer = await recommend(SESSION, None, components)
    ranking = await ground(answer, components)
    ids = answer.view.candidate_ids
    assert "of its lines, 2 named a candidate and 2 did not" in shown[0]
    assert ranking.item_ids[:3] == (ids[6], ids[7], ids[8])
    # Filled up in the order shown, with what is not named yet.
    assert ranking.item_ids[3:] == ids[:6] + ids[9:10]
    assert (ranking.illegal, ranking.backfilled, ranking.repaired) == (3, 7, True)


async def test_a_worse_second_answer_does_not_replace_the_first() -> None:
    components = make_components(ScriptedChatModel(["1. C02\n2. C04", "no idea"]))
    answer = await recommend(SESSION, None, components)
    ranking = await ground(answer, components)
    ids = answer.view.candidate_ids
    assert ranking.item_ids[:2] == (ids[1], ids[3])
    assert (ranking.backfilled, ranking.illegal) == (8, 0)


async def test_a_clean_answer_is_not_asked_for_again() -> None:
    model = answering_first()
    ranking = (await recommended(make_components(model)))["ranking"]
    assert len(model.calls) == 1
    assert (ranking.illegal, ranking.backfilled, ranking.repaired) == (0, 0, False)


async def test_fewer_candidates_than_places_are_all_ranked() -> None:
    few = Session(session_id="few", items=("i0",), target="i2", candidates=("i1", "i2", "i3"))
    model = ScriptedChatModel(["1. C01\n2. C02\n3. C03"])
    ranking = (await recommended(make_components(model), few))["ranking"]
    assert sorted(ranking.item_ids) == ["i1", "i2", "i3"]
    assert "exactly 3 numbered lines" in model.calls[0][-1].text


async def test_missing_context_is_said() -> None:
    for graph in (GRAPH, build_hint_learning_graph()):
        with pytest.raises(InputError, match="context=Components"):
            await graph.ainvoke({"session": SESSION})


async def test_the_steps_work_as_plain_functions() -> None:
    components = make_components(answering_first())
    ranking = await rank(SESSION, HINT, components)
    assert ranking.rank_of(SESSION.target) == 1
    assert ranking.hint_id == HINT.hint_id


async def test_one_compiled_graph_serves_two_hundred_runs_at_once() -> None:
    catalog = make_catalog()
    sessions = [make_session(n % 26, f"run-{n}") for n in range(200)]
    targets = targets_of(sessions, catalog)
    model = ScriptedChatModel([world(lambda hint, _: 2, targets)] * 200, latency=0.01)
    components = await with_hints(make_components(model, hint_policy=FixedHintPolicy(HINT.hint_id)))
    states = await asyncio.gather(*(recommended(components, s) for s in sessions))
    for session, state in zip(sessions, states, strict=True):
        assert state["ranking"].session_id == session.session_id
        assert state["ranking"].item_ids[1] == session.target
    model.assert_exhausted()


class NotingSchemas:
    """A gateway that answers from a list and notes what form was asked for."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, object, str]] = []

    async def ask(self, node: str, messages: Any, sample: int = 0, *, schema: object = None) -> str:
        self.asked.append((node, schema, messages[-1].text))
        return self.answers.pop(0)


async def test_structured_answers_are_asked_for_and_read() -> None:
    gateway = NotingSchemas("no idea", '{"ranking": ["C02", "C05"]}')
    ranking = await rank(
        SESSION, None, replace(make_components(ScriptedChatModel()), model=gateway)
    )
    assert [asked[:2] for asked in gateway.asked] == [
        ("recommend", RankedCandidates),
        ("repair", RankedCandidates),
    ]
    view = SessionView.of(SESSION, make_catalog())
    assert ranking.item_ids[:2] == (view.candidate_ids[1], view.candidate_ids[4])
    assert (ranking.structured, ranking.backfilled) == (True, 8)
    gateway = NotingSchemas('{"hints": ["Prefer old films.", "Avoid sequels."]}')
    components = replace(make_components(ScriptedChatModel()), model=gateway)
    assert await propose_hints(SESSION, ranking, "why", components) == [
        "Prefer old films.",
        "Avoid sequels.",
    ]
    assert gateway.asked[0][:2] == ("hints", ProposedHints)


async def test_labels_are_cut_in_every_prompt() -> None:
    gateway = NotingSchemas("1. C01", "1. C01", "Because.")
    components = make_components(ScriptedChatModel(), label_length=5)
    components = replace(components, model=gateway)
    ranking = await rank(SESSION, None, components)
    assert ranking.notes[0].endswith("labels were cut to 5 characters")
    await critique(SESSION, ranking, components)
    for _, _, text in (gateway.asked[0], gateway.asked[2]):
        blocks = re.findall(r"^<\w+>\n(.+?)\n</", text, re.MULTILINE | re.DOTALL)
        shown = [
            re.split(r" \| |\. ", line, maxsplit=1)[1] for b in blocks for line in b.splitlines()
        ]
        assert shown
        assert max(map(len, shown)) == 5
