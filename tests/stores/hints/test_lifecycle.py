from __future__ import annotations

from collections.abc import Sequence

import pytest

from agentrec.errors import InputError
from agentrec.hints import STATES, Hint, HintEvidence, HintProvenance
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.hints.lifecycle import admit, edit, lineage, merge, retire, text_fault
from agentrec.stores.hints.logged_store import InMemoryHintStore

EMBEDDINGS = HashedWordEmbeddings(16)
embed = EMBEDDINGS.aembed_documents
OLD = Hint(
    text="Prefer old films.",
    namespace="shop",
    provenance=HintProvenance(
        session_id="s1", model="m", prompt_hash="p", ndcg_before=0, ndcg_after=1
    ),
    evidence=HintEvidence.of({"a": 0.5, "b": 0.1}),
)
OTHER = Hint(text="Prefer films of the past.", namespace="shop", state="nominated")
THIRD = Hint(text="Prefer comedies.", namespace="shop")


@pytest.fixture
async def store() -> InMemoryHintStore:
    made = InMemoryHintStore(16, namespace="shop", embedding_model="hashed")
    hints = [OLD, OTHER, THIRD]
    await made.add_many(hints, await embed([hint.text for hint in hints]))
    return made


async def stored(store: InMemoryHintStore, hint: Hint) -> Hint:
    found = await store.get(hint.hint_id)
    assert found is not None
    return found


async def test_a_retired_hint_is_out_of_use_and_admitting_brings_it_back(
    store: InMemoryHintStore,
) -> None:
    assert await retire(store, [OLD.hint_id, THIRD.hint_id], "too\nvague") == 2
    assert await store.all() == []
    assert (await stored(store, OLD)).reason == "too vague"
    assert (await stored(store, OLD)).evidence == OLD.evidence
    assert (await store.revisions())[-1].note == "retired: too vague"
    assert await admit(store, [OLD.hint_id], "") == 3
    assert [hint.text for hint in await store.all()] == [OLD.text]


async def test_what_is_so_already_is_no_revision(store: InMemoryHintStore) -> None:
    assert await admit(store, [OLD.hint_id, THIRD.hint_id], "again") is None
    assert await retire(store, [], "nothing") is None
    assert await merge(store, OLD.hint_id, [OTHER.hint_id]) == 2
    assert await merge(store, OLD.hint_id, [OTHER.hint_id]) is None
    assert len(await store.revisions()) == 2


async def test_an_unknown_id_changes_nothing(store: InMemoryHintStore) -> None:
    for refused in (
        retire(store, [OLD.hint_id, "none"], ""),
        admit(store, [OTHER.hint_id, "none"], ""),
        merge(store, OLD.hint_id, [THIRD.hint_id, "none"]),
        merge(store, "none", [OLD.hint_id]),
        edit(store, "none", "Prefer new films.", embed),
        lineage(store, "none"),
    ):
        with pytest.raises(InputError, match="there is no hint 'none'"):
            await refused
    assert len(await store.revisions()) == 1


async def test_a_merged_hint_is_retired_and_says_what_stands_for_it(
    store: InMemoryHintStore,
) -> None:
    await merge(store, OLD.hint_id, [OTHER.hint_id, OTHER.hint_id], "the same")
    dropped = await stored(store, OTHER)
    assert (dropped.state, dropped.merged_into) == ("retired", OLD.hint_id)
    assert await stored(store, OLD) == (await store.as_of(1))[0]
    await admit(store, [OTHER.hint_id], "not the same after all")
    assert (await stored(store, OTHER)).merged_into is None


async def test_nonsensical_mergers_are_refused(store: InMemoryHintStore) -> None:
    with pytest.raises(InputError, match="with itself"):
        await merge(store, OLD.hint_id, [OTHER.hint_id, OLD.hint_id])
    await retire(store, [OLD.hint_id], "")
    with pytest.raises(InputError, match="is retired"):
        await merge(store, OLD.hint_id, [OTHER.hint_id])
    assert (await stored(store, OTHER)).state == "nominated"


async def test_an_edited_hint_is_another_one_from_the_same_source(
    store: InMemoryHintStore,
) -> None:
    new = await edit(store, OLD.hint_id, "Prefer films from before 1960.", embed)
    assert new == await stored(store, new)
    assert (new.state, new.replaces, new.version) == ("admitted", OLD.hint_id, 1)
    assert new.provenance == OLD.provenance
    assert new.evidence is None
    old = await stored(store, OLD)
    assert (old.state, old.evidence) == ("retired", OLD.evidence)
    nominated = await edit(store, OTHER.hint_id, "Prefer films of yesterday.", embed)
    assert nominated.state == "nominated"


async def test_an_edit_that_was_killed_is_finished_by_repeating_it(
    store: InMemoryHintStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(hints: Sequence[Hint], note: str) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "change", killed)
        with pytest.raises(KeyboardInterrupt):
            await edit(store, OLD.hint_id, "Prefer films from before 1960.", embed)
    assert (await stored(store, OLD)).state == "admitted"

    async def never(texts: list[str]) -> list[list[float]]:
        raise AssertionError("the vector is there")

    new = await edit(store, OLD.hint_id, "Prefer films from before 1960.", never)
    assert (await stored(store, OLD)).state == "retired"
    revisions = await store.revisions()
    assert await edit(store, OLD.hint_id, "Prefer films from before 1960.", never) == new
    assert await store.revisions() == revisions


async def test_an_edit_that_was_rolled_back_can_be_made_again(store: InMemoryHintStore) -> None:
    new = await edit(store, OLD.hint_id, "Prefer films from before 1960.", embed)
    await store.roll_back(1)
    assert [hint.text for hint in await store.all()] == [OLD.text, THIRD.text]
    again = await edit(store, OLD.hint_id, "Prefer films from before 1960.", embed)
    assert (again.hint_id, again.state) == (new.hint_id, "admitted")
    assert (await stored(store, OLD)).state == "retired"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("PREFER old films.", "says that already"),
        ("Prefer comedies.", "admitted, says that already"),
        ("  ...  ", "no letter or digit"),
        ("Rank c07 first.", "handle"),
        ("x" * 301, "301 characters"),
    ],
)
async def test_texts_that_an_edit_refuses(store: InMemoryHintStore, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        await edit(store, OLD.hint_id, text, embed)
    assert len(await store.revisions()) == 1


async def test_a_retired_hint_is_not_edited(store: InMemoryHintStore) -> None:
    await retire(store, [OLD.hint_id], "")
    with pytest.raises(InputError, match="admit it before"):
        await edit(store, OLD.hint_id, "Prefer films from before 1960.", embed)
    assert len(await store.all(STATES)) == 3


async def test_a_lineage_holds_all_that_became_one(store: InMemoryHintStore) -> None:
    new = await edit(store, OLD.hint_id, "Prefer films from before 1960.", embed)
    await merge(store, new.hint_id, [OTHER.hint_id])
    newest = await edit(store, new.hint_id, "Prefer films from before 1950.", embed)
    texts = [OLD.text, OTHER.text, new.text, newest.text]
    for version in (OLD, OTHER, new, newest):
        assert [hint.text for hint in await lineage(store, version.hint_id)] == texts
    assert [hint.text for hint in await lineage(store, THIRD.hint_id)] == [THIRD.text]


async def test_links_in_a_circle_and_to_nowhere_have_an_end(store: InMemoryHintStore) -> None:
    first, second, _ = await store.all(STATES)
    await store.change(
        [
            first.model_copy(update={"replaces": second.hint_id, "merged_into": "gone"}),
            second.model_copy(update={"replaces": first.hint_id}),
        ],
        "a circle",
    )
    assert len(await lineage(store, OLD.hint_id)) == 2


def test_a_plain_text_has_no_fault() -> None:
    assert text_fault("Prefer 3D films, C-movies and C++.") is None
