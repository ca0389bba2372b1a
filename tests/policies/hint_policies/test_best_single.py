import numpy as np

from agentrec.hint_offers import HintOffer, RewardedOffer
from agentrec.hints import Hint
from agentrec.policies.hint_policies.best_single import BestSingleHintTrainer
from agentrec.policies.hint_policies.untrained import FixedHintPolicy, NoHintPolicy

A, B = sorted(
    (Hint(text="Prefer old films."), Hint(text="Prefer new films.")), key=lambda h: h.hint_id
)
NAN = float("nan")


def _measured(rows: list[list[float]], hints: tuple[Hint, ...] = (A, B)) -> RewardedOffer:
    offer = HintOffer.of_all(np.zeros((len(rows), 2), np.float32), hints)
    zeros = np.zeros((len(rows), 1))
    return RewardedOffer(offer, np.concatenate([zeros, rows], axis=1).astype(np.float32))


def _picked(train: RewardedOffer, valid: RewardedOffer | None = None) -> str:
    policy = BestSingleHintTrainer().fit(train, valid)
    assert isinstance(policy, FixedHintPolicy)
    return policy.hint_id


def test_the_best_mean_wins_even_below_no_hint() -> None:
    assert _picked(_measured([[-0.9, -0.3], [-0.1, -0.3]])) == B.hint_id


def test_validation_decides_and_training_does_not() -> None:
    assert _picked(_measured([[0.0, 0.5]]), _measured([[0.1, 0.0]])) == A.hint_id


def test_a_mean_is_over_the_sessions_on_which_a_hint_was_measured() -> None:
    # A: 0.3 on the one session that counts; B: 0.2. With zeros for NaN, A would have 0.1.
    assert _picked(_measured([[NAN, 0.2], [0.3, 0.2], [NAN, 0.2]])) == A.hint_id


def test_of_equals_the_smallest_id_wins_in_any_order() -> None:
    assert _picked(_measured([[0.5, 0.5]])) == A.hint_id
    assert _picked(_measured([[0.5, 0.5]], (B, A))) == A.hint_id


def test_a_hint_nobody_measured_is_not_picked() -> None:
    assert _picked(_measured([[NAN, -0.4]])) == B.hint_id


def test_where_no_hint_was_measured_none_is_given() -> None:
    assert isinstance(BestSingleHintTrainer().fit(_measured([[NAN, NAN]])), NoHintPolicy)
