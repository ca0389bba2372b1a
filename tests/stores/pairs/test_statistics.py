import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrec.preferences import ChatTurn, PairProvenance, PreferencePair, PreferenceReward
from agentrec.stores.pairs.statistics import LEVELS, Distribution, PairStatistics
from agentrec.testing.preference_sink_conformance import numbered_pair


def pair(number: int, better: float, worse: float | None, margin: float = 1.0, **more: object):
    return numbered_pair(
        number,
        kind="reward" if worse is not None else "structure",
        chosen_reward=PreferenceReward(value=better, margin=margin),
        rejected_reward=None if worse is None else PreferenceReward(value=worse),
        **more,
    )


def test_statistics_match_counts_by_hand() -> None:
    pairs = [
        pair(1, 1.0, 0.5, user_id="u", chosen="aaaa", rejected="bb"),
        pair(2, 0.5, 0.5, user_id="u", chosen="aa", rejected="bbbb"),
        pair(3, 0.5, 0.25, margin=-2, user_id="", chosen="aa", rejected="bb"),
        pair(
            1,
            1.0,
            None,
            user_id="u",
            chosen="aaaa",
            rejected="a",
            provenance=PairProvenance(model="some-model", broken="lines merged", seed=3),
            prompt=(ChatTurn(role="system", content="12"), ChatTurn(role="user", content="345")),
        ),
    ]
    found = PairStatistics.of(iter(pairs), {"b": 1, "a": 1, "gap too small": 5})
    assert (found.pairs, dict(found.kinds)) == (4, {"reward": 3, "structure": 1})
    assert (found.sessions, found.users, found.unknown_users, found.most_of_a_user) == (3, 1, 1, 3)
    assert list(found.refusals.items()) == [("gap too small", 5), ("a", 1), ("b", 1)]
    assert (found.gap.count, found.gap.mean) == (3, 0.25)
    assert found.gap.quantiles[0] == 0
    assert found.gap.quantiles[LEVELS.index(0.5)] == 0.25
    assert found.gap.quantiles[-1] == 0.5
    assert found.ties == 1
    assert found.margin_gap.quantiles[0] == -2
    assert found.chosen_value.mean == pytest.approx(2 / 3)
    assert found.chosen_length.mean == 3
    assert found.rejected_length.quantiles[-1] == 4
    assert found.prompt_length.quantiles[0] == 5
    assert found.chosen_longer == pytest.approx(1 / 3)
    assert dict(found.broken) == {"lines merged": 1}
    assert dict(found.origins["model"]) == {"some-model": 4}
    assert dict(found.origins["seed"]) == {"": 3, "3": 1}


def test_statistics_of_no_pairs() -> None:
    found = PairStatistics.of([])
    assert (found.pairs, found.sessions, found.chosen_longer) == (0, 0, 0.0)
    assert found.gap == Distribution(count=0, mean=0.0, quantiles=())
    json.loads(found.model_dump_json())


def test_only_the_most_frequent_origins_are_listed() -> None:
    pairs: list[PreferencePair] = [
        numbered_pair(n, provenance=PairProvenance(model=f"m{n % 30 if n < 60 else 0}"))
        for n in range(70)
    ]
    models = PairStatistics.of(pairs).origins["model"]
    assert len(models) == 20
    assert next(iter(models.items())) == ("m0", 12)


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_a_distribution_matches_its_numbers(numbers: list[float]) -> None:
    found = Distribution.of(numbers)
    assert found.count == len(numbers)
    assert (found.quantiles[0], found.quantiles[-1]) == (min(numbers), max(numbers))
    assert min(numbers) <= found.mean <= max(numbers)
    assert list(found.quantiles) == sorted(found.quantiles)
    if max(map(abs, numbers)) < 1e100:
        assert found.mean == pytest.approx(np.mean(numbers), abs=1e85)
