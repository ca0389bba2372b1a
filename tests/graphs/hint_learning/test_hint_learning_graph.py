import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime
from pydantic import PrivateAttr
from testing.answering import (
    DIMENSION,
    WRONG,
    Place,
    blocks_of,
    make_catalog,
    make_components,
    make_session,
    prompts_of,
    targets_of,
    task_of,
    world,
)

from agentrec.components import Components
from agentrec.errors import InputError, ModelCallError
from agentrec.evaluation.metrics import ndcg
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.graphs.hint_learning.trials import FIRST_LOOK, try_on
from agentrec.hints import Hint
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

GRAPH = build_hint_learning_graph()
SESSION = make_session(0)
GOOD, BAD, IDLE = "Prefer old films.", "Avoid old films.", "Look at the history."


def helped_by(hint: str | None, last: str) -> int | str:
    """Only ``GOOD`` puts the target anywhere."""
    return 1 if hint == GOOD else WRONG


def scripted(
    position: Place, hints: Sequence[str] = (GOOD,), sessions: Sequence[Session] = (SESSION,)
) -> ScriptedChatModel:
    return ScriptedChatModel([world(position, targets_of(sessions, make_catalog()), hints)] * 2000)


async def learned(
    components: Components, session: Session = SESSION, probes: Sequence[Session] = ()
) -> Any:
    return await GRAPH.ainvoke({"session": session, "probes": probes}, context=components)


def reasons(state: Any) -> dict[str, str]:
    return {rejection.text: rejection.reason for rejection in state["rejected"]}


async def test_a_right_session_costs_one_call() -> None:
    model = scripted(lambda *_: 10)
    state = await learned(make_components(model))
    assert len(model.calls) == 1
    assert state["right"]
    assert "critique" not in state
    assert "stored" not in state


async def test_an_error_is_reflected_on_in_order_and_the_target_is_hidden_first() -> None:
    model = scripted(helped_by)
    components = make_components(model)
    state = await learned(components)
    tasks = [task_of(messages) for messages in model.calls]
    assert tasks == ["rank", "critique", "diagnose", "hints", "rank"]
    label = components.catalog.labels[SESSION.target or ""]
    (critique,), (diagnosis,) = prompts_of(model, "critique"), prompts_of(model, "diagnose")
    assert label not in critique
    assert blocks_of(model.calls[2])["target"] == label
    assert "A critique of Toy Story." in diagnosis
    assert "A diagnose of Toy Story." in prompts_of(model, "hints")[0]
    (hint,) = await components.hint_store.all()
    assert hint == state["stored"][0]
    assert hint.text == GOOD
    assert hint.provenance is not None
    assert hint.provenance.session_id == SESSION.session_id
    assert hint.provenance.model == "scripted"
    assert hint.provenance.prompt_hash == components.prompts.content_hash
    assert (hint.provenance.ndcg_before, hint.provenance.ndcg_after) == (0.0, 1.0)
    assert hint.evidence is None


async def test_the_trial_is_a_fresh_conversation() -> None:
    model = scripted(helped_by)
    await learned(make_components(model))
    trial = model.calls[-1]
    assert [message.type for message in trial] == ["system", "human"]
    assert "critique" not in trial[1].text
    assert "target" not in blocks_of(trial)


async def test_refused_proposals_keep_their_reason_and_are_not_tried() -> None:
    refused = {
        "Prefer HEAT now.": "names the target",
        "Look at C07 first.": "names a handle",
        IDLE: "does not repair the error",
    }
    model = scripted(helped_by, [*refused])
    components = make_components(model)
    state = await learned(components)
    assert reasons(state) == refused
    assert state["stored"] == []
    # One unaided ranking and the one proposal that broke no rule.
    assert len(prompts_of(model, "rank")) == 2
    assert await components.hint_store.all() == []


async def test_an_answer_without_a_proposal_ends_well() -> None:
    answer = world(helped_by, targets_of([SESSION], make_catalog()))

    def silent(messages: Sequence[BaseMessage]) -> str:
        return "---" if task_of(messages) == "hints" else answer(messages)

    state = await learned(make_components(ScriptedChatModel([silent] * 10)))
    assert (state["stored"], state["proposals"]) == ([], [])


async def test_a_harmful_hint_is_refused_after_the_first_look() -> None:
    probes = [make_session(n) for n in range(1, 26)]
    calls: dict[str, int] = {}
    for text in (GOOD, BAD):

        def position(hint: str | None, last: str, good: str = text) -> int | str:
            if last == "Toy Story":
                return 1 if hint else WRONG
            return 4 if hint is None else 2 if good == GOOD else WRONG

        model = scripted(position, [text], [SESSION, *probes])
        components = make_components(model)
        state = await learned(components, probes=probes)
        calls[text] = len(model.calls)
        evidence = state["trials"][0].hint.evidence
        if text == GOOD:
            assert [hint.text for hint in state["stored"]] == [GOOD]
            assert (evidence.sessions, evidence.wins, evidence.losses) == (25, 25, 0)
        else:
            assert reasons(state) == {BAD: "does not help on other sessions"}
            assert evidence.sessions == FIRST_LOOK
    # 5 calls of its own, then two a probe: with the hint and without.
    assert calls == {GOOD: 5 + 2 * 25, BAD: 5 + 2 * FIRST_LOOK}


async def test_evidence_is_what_a_hand_computes() -> None:
    probes = [make_session(n) for n in range(1, 5)]
    labels = make_catalog().labels
    without = dict(zip([labels[p.items[-1]] for p in probes], [2, 1, WRONG, 3], strict=True))
    with_hint = dict(zip(without, [1, 1, 7, WRONG], strict=True))
    model = scripted(lambda hint, last: (with_hint if hint else without)[last], (), probes)
    evidence = await try_on(Hint(text=GOOD), probes, make_components(model))
    # 1 - 1/log2(3), 1 - 1, 1/log2(8) - 0, 0 - 1/log2(4)
    gains = [1 - 0.6309297535714574, 0.0, 1 / 3, -0.5]
    mean = sum(gains) / 4
    spread = (sum((gain - mean) ** 2 for gain in gains) / 3) ** 0.5
    assert evidence is not None
    assert evidence.mean_gain == pytest.approx(mean)
    assert evidence.low == pytest.approx(mean - 1.2815515655446004 * spread / 2)
    assert (evidence.sessions, evidence.wins, evidence.losses) == (4, 2, 1)
    assert await try_on(Hint(text=GOOD), [], make_components(model)) is None


async def test_one_probe_alone_proves_nothing() -> None:
    probe = make_session(1)
    model = scripted(lambda hint, _: 1 if hint else WRONG, (GOOD,), [SESSION, probe])
    state = await learned(make_components(model), probes=[probe])
    assert reasons(state) == {GOOD: "does not help on other sessions"}


async def test_what_is_stored_already_is_refused() -> None:
    hints = [GOOD, "prefer OLD films"]
    model = scripted(lambda hint, _: 1 if hint else WRONG, hints)
    components = make_components(model)
    state = await learned(components)
    assert [hint.text for hint in state["stored"]] == [GOOD]
    assert reasons(state) == {hints[1]: "says what a stored hint says"}
    again = await learned(components)
    assert set(reasons(again).values()) == {"says what a stored hint says"}
    assert len(await components.hint_store.all()) == 1


class CountingEmbeddings(HashedWordEmbeddings):
    """Counts how often each text is embedded, as who pays for it would."""

    def __init__(self) -> None:
        super().__init__(DIMENSION)
        self.counts: Counter[str] = Counter()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.counts.update(texts)
        return super().embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        self.counts[text] += 1
        return super().embed_query(text)


async def test_a_text_is_embedded_once_from_proposal_to_store() -> None:
    hints = ["Prefer old films.", "Weigh recent choices.", "Avoid sequels always."]
    model = scripted(lambda hint, _: WRONG if hint in {None, hints[2]} else 1, hints)
    embeddings = CountingEmbeddings()
    components = make_components(model, embeddings=embeddings)
    state = await learned(components)
    assert [hint.text for hint in state["stored"]] == hints[:2]
    # What did not repair its own error needs no vector.
    assert embeddings.counts == {hints[0]: 1, hints[1]: 1}
    plain = HashedWordEmbeddings(DIMENSION)
    for text in hints[:2]:
        (found,) = await components.hint_store.search(plain.embed_query(text), 1)
        assert (found.hint.text, found.similarity) == (text, pytest.approx(1))


async def test_a_full_knowledge_base_takes_no_more() -> None:
    hints = ["Prefer old films.", "Weigh recent choices.", "Avoid sequels always."]
    model = scripted(lambda hint, _: 1 if hint else WRONG, hints)
    components = make_components(model, max_hints=2)
    state = await learned(components)
    assert [hint.text for hint in await components.hint_store.all()] == hints[:2]
    assert reasons(state) == {hints[2]: "knowledge base is full"}


class MeetingModel(ScriptedChatModel):
    """Answers a ranking under a hint only once so many of them are asked for at a time."""

    _meeting: asyncio.Barrier = PrivateAttr()

    def __init__(self, replies: Sequence[Any], parties: int) -> None:
        super().__init__(replies)
        self._meeting = asyncio.Barrier(parties)

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> Any:
        if task_of(messages) == "rank" and "hint" in blocks_of(messages):
            await asyncio.wait_for(self._meeting.wait(), 30)
        return await super()._agenerate(messages, *args, **options)


async def test_proposals_are_tried_side_by_side_and_stored_in_order() -> None:
    hints = ["Prefer old films.", "Weigh recent choices.", "Avoid sequels always."]
    targets = targets_of([SESSION], make_catalog())
    answer = world(lambda hint, _: 1 if hint else WRONG, targets, hints)
    model = MeetingModel([answer] * 10, parties=len(hints))
    components = make_components(model)
    await learned(components)
    assert len(prompts_of(model, "rank")) == 1 + len(hints)
    assert [hint.text for hint in await components.hint_store.all()] == hints


async def test_a_session_without_target_is_refused_before_anything_is_paid() -> None:
    model = scripted(helped_by)
    live = SESSION.model_copy(update={"target": None})
    with pytest.raises(InputError, match="'target'"):
        await learned(make_components(model), live)
    assert model.calls == []


async def test_a_failed_trial_is_a_failure_and_no_refusal() -> None:
    answer = world(helped_by, targets_of([SESSION], make_catalog()))
    model = ScriptedChatModel([*[answer] * 4, TimeoutError("slow"), answer])
    components = make_components(model)
    with pytest.raises(ModelCallError):
        await learned(components)
    assert await components.hint_store.all() == []
    # The next attempt asks for nothing but what failed.
    state = await learned(components)
    assert [hint.text for hint in state["stored"]] == [GOOD]
    model.assert_exhausted()


async def test_ndcg_of_the_own_session_is_kept_as_provenance_only() -> None:
    model = scripted(lambda hint, _: 5 if hint else WRONG)
    components = make_components(model)
    await asyncio.wait_for(learned(components), 10)
    (hint,) = await components.hint_store.all()
    assert hint.provenance is not None
    assert hint.provenance.ndcg_after == pytest.approx(ndcg(5))


async def test_a_node_of_the_users_own_takes_the_place_of_ours() -> None:
    async def terse(state: Any, runtime: Runtime[Components]) -> dict[str, object]:
        return {"critique": "Too new."}

    graph = build_hint_learning_graph({"critique": terse})
    model = scripted(helped_by)
    state = await graph.ainvoke({"session": SESSION}, context=make_components(model))
    assert [task_of(messages) for messages in model.calls] == ["rank", "diagnose", "hints", "rank"]
    assert "Too new." in prompts_of(model, "diagnose")[0]
    assert [hint.text for hint in state["stored"]] == [GOOD]
    with pytest.raises(ValueError, match="no such node: critic;"):
        build_hint_learning_graph({"critic": terse})  # type: ignore[dict-item]


async def test_every_node_tells_when_it_is_done() -> None:
    components = make_components(scripted(helped_by))
    reported = [
        name
        async for update in GRAPH.astream(
            {"session": SESSION}, context=components, stream_mode="updates"
        )
        for name in update
    ]
    order = ["recommend", "judge", "critique", "diagnose", "propose", "verify", "nominate", "admit"]
    assert reported == order


@pytest.mark.parametrize(("rounds", "asked"), [(1, 1), (2, 2), (5, 3)])
async def test_reflection_goes_on_until_a_hint_repairs_or_the_rounds_are_used_up(
    rounds: int, asked: int
) -> None:
    targets = targets_of([SESSION], make_catalog())
    proposals = iter([IDLE, BAD, GOOD, "never asked for"])
    answer = world(helped_by, targets)

    def later(messages: Sequence[BaseMessage]) -> str:
        return f"1. {next(proposals)}" if task_of(messages) == "hints" else answer(messages)

    model = ScriptedChatModel([later] * 50)
    components = make_components(model, reflection_rounds=rounds)
    state = await learned(components)
    prompts = prompts_of(model, "hints")
    assert len(prompts) == asked == state["round"]
    assert [trial.hint.text for trial in state["trials"]] == [IDLE, BAD, GOOD][:asked]
    assert [trial.position for trial in state["trials"]] == list(range(asked))
    assert [hint.text for hint in state["stored"]] == [GOOD][: asked - 2]
    for tried, prompt in zip([(), (IDLE,), (IDLE, BAD)], prompts, strict=False):
        assert all(text in prompt for text in tried)
    assert reasons(state) == dict.fromkeys([IDLE, BAD][:asked], "does not repair the error")
    assert state["outcome"].questions == 3 + 2 * asked + (asked == 0)
