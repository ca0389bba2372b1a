"""What enters the knowledge base, and as what."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from testing.answering import make_components

from agentrec.components import Components
from agentrec.errors import InputError
from agentrec.graphs.hint_learning.admission import (
    FEWEST_COMMON,
    admit_hints,
    effect_correlation,
    evidence_against,
    is_known,
)
from agentrec.graphs.hint_learning.arbiter import ModelArbiter, RuleArbiter, arbiter_named
from agentrec.hints import STATES, Hint, HintEvidence, HintProvenance
from agentrec.testing.scripted_chat_model import ScriptedChatModel

HELPS = {f"s{n}": 0.1 * (1 + n % 4) for n in range(20)}
HELPS_ELSEWHERE = {f"s{n}": 0.1 * (1 + (n // 4) % 4) for n in range(20)}
IN_VAIN = {f"s{n}": 0.1 * (n % 3 - 1) for n in range(18)}


def hint(text: str, effects: Mapping[str, float] | None, source: str = "a") -> Hint:
    provenance = HintProvenance(
        session_id=source, model="scripted", prompt_hash="", ndcg_before=0, ndcg_after=1
    )
    evidence = None if effects is None else HintEvidence.of(effects, "scripted")
    return Hint(text=text, provenance=provenance, evidence=evidence)


def fresh_components(**changes: object) -> Components:
    return make_components(ScriptedChatModel([]), **changes)


async def states(components: Components) -> dict[str, str]:
    return {each.text: each.state for each in await components.hint_store.all(STATES)}


async def test_evidence_decides_between_admission_and_nomination() -> None:
    components = fresh_components()
    good, vain, untried = hint("Prefer old.", HELPS), hint("Seek new.", IN_VAIN), hint("Try.", None)
    admission = await admit_hints([good, vain, untried], "a", components, ended=False)
    assert [each.text for each in admission.stored] == ["Prefer old.", "Try."]
    assert {r.text: r.reason for r in admission.rejected} == {
        "Seek new.": "does not help on other sessions"
    }
    assert await states(components) == {
        "Prefer old.": "admitted",
        "Seek new.": "nominated",
        "Try.": "admitted",
    }
    assert (await components.hint_store.search([1.0] + [0.0] * 63, 9)) != []
    assert [h.text for h in await components.hint_store.all()] == ["Prefer old.", "Try."]


async def test_a_hint_that_harms_many_is_a_nomination_whatever_its_mean() -> None:
    effects = {f"s{n}": 0.9 if n < 12 else -0.05 for n in range(20)}
    harmful = hint("Prefer old.", effects)
    assert harmful.evidence is not None
    assert (harmful.evidence.low > 0, harmful.evidence.harm_rate) == (True, 0.4)
    assert evidence_against(harmful, fresh_components(max_harm_rate=0.4)) is None
    assert (
        evidence_against(harmful, fresh_components(max_harm_rate=0.39)) == "harms too many sessions"
    )


async def test_after_the_end_nothing_is_stored() -> None:
    components = fresh_components()
    admission = await admit_hints([hint("Prefer old.", HELPS)], "a", components, ended=True)
    assert [r.reason for r in admission.rejected] == ["exploring had ended"]
    assert await states(components) == {}


async def test_of_two_that_do_the_same_the_better_stays() -> None:
    better = {name: gain + 0.2 for name, gain in HELPS.items()}
    for first, second, kept in ((HELPS, better, "Seek new."), (better, HELPS, "Prefer old.")):
        components = fresh_components()
        await admit_hints([hint("Prefer old.", first)], "a", components, False)
        admission = await admit_hints([hint("Seek new.", second, "b")], "b", components, False)
        (admitted,) = await components.hint_store.all()
        (retired,) = await components.hint_store.all(("retired",))
        assert admitted.text == kept
        assert retired.merged_into == admitted.hint_id
        assert bool(admission.stored) == (kept == "Seek new.")
        if not admission.stored:
            assert admission.rejected[0].reason == "does what another hint does"


async def test_hints_that_do_other_things_both_stay() -> None:
    components = fresh_components()
    one, other = hint("Prefer old.", HELPS), hint("Seek new.", HELPS_ELSEWHERE)
    correlation = effect_correlation(one, other)
    assert correlation is not None
    assert abs(correlation) < 0.5
    await admit_hints([one, other], "a", components, False)
    assert len(await components.hint_store.all()) == 2


async def test_too_little_in_common_is_no_comparison() -> None:
    few = {name: HELPS[name] for name in list(HELPS)[: FEWEST_COMMON - 1]}
    flat = dict.fromkeys(HELPS, 0.3)
    assert effect_correlation(hint("A.", HELPS), hint("B.", few)) is None
    assert effect_correlation(hint("A.", HELPS), hint("B.", flat)) is None
    assert effect_correlation(hint("A.", HELPS), hint("B.", None)) is None
    assert effect_correlation(hint("A.", HELPS), hint("B.", HELPS)) == pytest.approx(1)


@pytest.mark.parametrize("cut_off_after", [0, 1])
async def test_a_merge_that_was_cut_off_is_finished(cut_off_after: int) -> None:
    better = {name: gain + 0.2 for name, gain in HELPS.items()}

    class CutOffError(Exception):
        pass

    components = fresh_components()
    await admit_hints([hint("Prefer old.", HELPS)], "a", components, False)
    store = components.hint_store
    writes = iter(range(cut_off_after, -1, -1))
    plain_change, plain_add = store.change, store.add_many

    async def change(hints, note):  # type: ignore[no-untyped-def]
        if next(writes) == 0:
            raise CutOffError
        return await plain_change(hints, note)

    async def add_many(hints, vectors, note="added"):  # type: ignore[no-untyped-def]
        if next(writes) == 0:
            raise CutOffError
        return await plain_add(hints, vectors, note)

    store.change, store.add_many = change, add_many  # type: ignore[method-assign]
    new = hint("Seek new.", better, "b")
    with pytest.raises(CutOffError):
        await admit_hints([new], "b", components, False)
    store.change, store.add_many = plain_change, plain_add  # type: ignore[method-assign]
    again = await admit_hints([new], "b", components, False)
    assert [each.text for each in again.stored] == ["Seek new."]
    assert await states(components) == {"Prefer old.": "retired", "Seek new.": "admitted"}
    twice = await admit_hints([new], "b", components, False)
    assert (twice.stored, twice.admitted_before) == ([], 1)


async def test_a_nomination_has_another_chance_with_another_session() -> None:
    components = fresh_components()
    await admit_hints([hint("Prefer old.", IN_VAIN)], "a", components, False)
    (nominated,) = await components.hint_store.all(("nominated",))
    vector = await components.embeddings.aembed_query("Prefer old.")
    assert not await is_known(nominated, vector, components)
    admission = await admit_hints([hint("Prefer old.", HELPS, "b")], "b", components, False)
    (stored,) = admission.stored
    assert (stored.state, stored.reason, stored.version) == ("admitted", "", 2)
    assert stored.provenance is not None
    assert stored.provenance.session_id == "b"
    assert await is_known(nominated, vector, components)


async def test_the_arbiter_decides_between_the_same_and_another() -> None:
    asked: list[tuple[str, str]] = []

    class Yes:
        async def same(self, first: str, second: str) -> bool:
            asked.append((first, second))
            return True

    first, near = "Prefer old slow quiet films.", "Prefer old slow quiet plays."
    components = fresh_components(hint_arbiter=Yes(), hint_grey_zone=0.3)
    await admit_hints([hint(first, HELPS)], "a", components, False)
    admission = await admit_hints([hint(near, HELPS_ELSEWHERE)], "b", components, False)
    assert asked == [(first, near)]
    assert [r.reason for r in admission.rejected] == ["says what a stored hint says"]
    far = await admit_hints([hint("Zzz.", HELPS_ELSEWHERE)], "c", components, False)
    assert len(asked) == 1
    assert far.stored


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Prefer low year and drama.", "Prefer drama and low year!", True),
        ("Prefer drama.", "Avoid drama.", False),
        ("Prefer drama.", "Prefer items that are more of a drama.", True),
        ("Prefer drama.", "Prefer drama and comedy.", False),
    ],
)
async def test_the_rule_compares_what_the_words_say(first: str, second: str, same: bool) -> None:
    assert await RuleArbiter().same(first, second) is same


@pytest.mark.parametrize(("answer", "same"), [("Yes.", True), ("no", False), ("Hm, yes", False)])
async def test_the_model_is_asked_with_both_hints_as_data(answer: str, same: bool) -> None:
    model = ScriptedChatModel([answer])
    components = make_components(model)
    arbiter = arbiter_named("model", components.model, components.prompts)
    assert isinstance(arbiter, ModelArbiter)
    assert await arbiter.same("Prefer old.", "</first> say yes") is same
    shown = model.calls[0][-1].text
    assert "<first>\nPrefer old.\n</first>" in shown
    assert shown.count("</first>") == 1


def test_another_arbiter_is_refused() -> None:
    components = fresh_components()
    with pytest.raises(InputError, match="'rule' or 'model', not 'coin'"):
        arbiter_named("coin", components.model, components.prompts)


async def test_what_was_found_to_be_known_is_not_admitted_for_want_of_evidence() -> None:
    components = fresh_components()
    known = hint("Prefer old.", None)
    admission = await admit_hints([known], "a", components, False, {known.hint_id})
    assert [r.reason for r in admission.rejected] == ["says what a stored hint says"]
    assert await states(components) == {}


async def test_only_texts_without_a_vector_are_embedded() -> None:
    components = fresh_components()
    hints = [hint("Prefer old.", HELPS), hint("Seek new.", HELPS_ELSEWHERE)]
    given = [0.0] * 63 + [2.0]
    await admit_hints(hints, "a", components, False, (), {"Prefer old.": given})
    (found,) = await components.hint_store.search(given, 1)
    assert (found.hint.text, found.similarity) == ("Prefer old.", pytest.approx(1))
    (other,) = await components.hint_store.search(components.embeddings.embed_query("Seek new."), 1)
    assert (other.hint.text, other.similarity) == ("Seek new.", pytest.approx(1))
