import json

import numpy as np
import pytest

from agentrec.contracts import HintPolicy
from agentrec.hint_offers import HintChoices, HintOffer, RewardedOffer, choose_best
from agentrec.policies.hint_policies.best_single import BestSingleHintTrainer
from agentrec.policies.hint_policies.untrained import (
    FixedHintPolicy,
    NoHintPolicy,
    RandomHintPolicy,
)
from agentrec.policies.hint_policies.value_regression import ValueRegressionTrainer
from agentrec.policies.no_regret_gate import GateVerdict, NoRegretGate
from agentrec.testing.planted_sessions import planted_rewards, pure_noise_rewards

GATE = NoRegretGate(resamples=2_000)


def _world_of(*gains: list[float]) -> tuple[RewardedOffer, list[HintPolicy]]:
    """Sessions with just these gains, a column a hint, and one policy for each of the hints."""
    rewards = np.array([[0.0] * len(gains[0]), *gains], dtype=np.float32).T
    made = planted_rewards(len(rewards), len(gains), 4, signal=1.0, noise=0.0, seed=0)
    policies: list[HintPolicy] = [FixedHintPolicy(hint_id) for hint_id in made.hint_ids]
    return RewardedOffer(made.offer(), rewards), policies


def _judged(
    *gains: list[float], wanted: int = 1, gate: NoRegretGate = GATE
) -> tuple[GateVerdict, RewardedOffer]:
    """The verdict on policies named "0", "1", ..., of which the first ones are wanted."""
    held_out, policies = _world_of(*gains)
    named = {str(place): policy for place, policy in enumerate(policies)}
    wishes = {name: named.pop(name) for name in list(named)[:wanted]}
    return gate.judge(wishes, held_out, fallbacks=named), held_out


GOOD = [0.1, 0.2, 0.3, 0.1] * 5
BETTER = [0.2, 0.3, 0.4, 0.2] * 5
DOUBTFUL = [0.3, -0.3, 0.2, -0.1] * 5
BAD = [-0.1, -0.2, 0.0, -0.3] * 5


def test_a_policy_that_learnt_something_goes_live() -> None:
    world = planted_rewards(500, 5, 12, signal=1.0, noise=0.5, seed=3)
    policy = ValueRegressionTrainer().fit(world.between(0, 300).rewarded())
    held_out = world.between(300, 500).rewarded()
    verdict = NoRegretGate().judge({"policy": policy, "no_hint": NoHintPolicy()}, held_out)
    assert (verdict.live, verdict.wanted, verdict.wanted_passed) == ("policy", "policy", True)
    gained = held_out.gained(policy.choose(held_out.offer))
    assert verdict.candidates[0].gain.mean == pytest.approx(float(gained.mean()), abs=1e-6)
    assert verdict.candidates[0].changed == int((np.abs(gained) > 1e-6).sum())
    assert verdict.sessions == 200
    assert not verdict.candidates[1].passed


def test_of_noise_no_more_lives_than_the_level_promises() -> None:
    lived = {"random": 0, "value_regression": 0, "best_single": 0}
    for seed in range(40):
        world = pure_noise_rewards(287, 6, 8, seed=seed)
        train, held_out = world.between(0, 200).rewarded(), world.between(200, 287).rewarded()
        policies: dict[str, HintPolicy] = {
            "random": RandomHintPolicy(seed),
            "value_regression": ValueRegressionTrainer().fit(train),
            "best_single": BestSingleHintTrainer().fit(train),
        }
        for name, policy in policies.items():
            lived[name] += GATE.judge({name: policy}, held_out).live != "no_hint"
    # 2.5 % are promised, one of 40; with that probability, more than 4 come up in 1 of 300 cases.
    assert max(lived.values()) <= 4
    assert sum(lived.values()) <= 8


def test_of_noise_much_lives_where_the_level_promises_little() -> None:
    lived = 0
    for seed in range(40):
        world = pure_noise_rewards(87, 6, 8, seed=seed)
        verdict = NoRegretGate(level=0.2, resamples=500).judge(
            {"random": RandomHintPolicy(seed)}, world.rewarded()
        )
        lived += verdict.wanted_passed
    assert 8 <= lived <= 24


class _Harmful:
    """Gives the hint that does the most harm."""

    def __init__(self, rewards: RewardedOffer) -> None:
        self._rewards = rewards

    def choose(self, offer: HintOffer) -> HintChoices:
        scores = -self._rewards.rewards
        scores[:, 0] = -2
        return choose_best(offer, scores)


def test_a_harmful_policy_never_lives() -> None:
    for seed in range(10):
        held_out = planted_rewards(87, 5, 8, signal=1.0, noise=1.0, seed=seed).rewarded()
        verdict = NoRegretGate(level=0.2, resamples=200, seed=seed).judge(
            {"harmful": _Harmful(held_out)}, held_out
        )
        assert verdict.live == "no_hint"
        assert "harmful gains -" in verdict.sentence
        assert "certainly worse than no hint; no hint is given instead." in verdict.sentence


def test_the_preferred_of_those_that_pass_lives_though_a_later_one_be_better() -> None:
    assert _judged(GOOD, BETTER, wanted=2)[0].live == "0"
    assert _judged(GOOD, BETTER, wanted=1)[0].live == "0"
    verdict, _ = _judged(DOUBTFUL, GOOD, BETTER, wanted=3)
    assert (verdict.live, verdict.wanted, verdict.wanted_passed) == ("1", "0", False)


def test_among_fallbacks_the_surest_lives_and_only_if_it_passes() -> None:
    assert _judged(DOUBTFUL, GOOD, BETTER)[0].live == "2"
    assert _judged(DOUBTFUL, BETTER, GOOD)[0].live == "1"
    verdict, _ = _judged(BAD, DOUBTFUL, BAD)
    assert (verdict.live, verdict.wanted_passed) == ("no_hint", False)
    # A wanted one that passes comes before any fallback.
    assert _judged(BAD, GOOD, BETTER, wanted=2)[0].live == "1"


def test_of_equally_sure_fallbacks_the_first_lives() -> None:
    assert _judged(BAD, GOOD, GOOD, GOOD)[0].live == "1"


def test_a_gain_of_nothing_does_not_pass() -> None:
    assert _judged([0.0] * 20)[0].live == "no_hint"


def test_few_changed_sessions_prove_nothing_however_lucky() -> None:
    assert NoRegretGate().least_changed == 6
    assert NoRegretGate(level=0.9375).least_changed == 5
    verdict, _ = _judged([0.5] * 5 + [0.0] * 15)
    assert verdict.candidates[0].gain.low > 0
    assert verdict.live == "no_hint"
    assert "changed only 5 of them, and 6 are needed; no hint is given" in verdict.sentence
    assert _judged([0.5] * 6 + [0.0] * 14)[0].live == "0"


def test_the_verdict_is_told_in_plain_words() -> None:
    passed, _ = _judged(GOOD)
    gain = passed.candidates[0].gain
    told = f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    assert passed.sentence == (
        f"0 gains {told} over no hint on 20 validation sessions: it goes live."
    )
    assert passed.lines() == [passed.sentence]
    failed, _ = _judged(DOUBTFUL, BAD, GOOD)
    assert failed.sentence.endswith(
        "on 20 validation sessions: it is not certainly better than no hint; 2 goes live instead."
    )
    lines = failed.lines()
    assert len(lines) == 3
    assert lines[1].endswith(": did not pass.")
    assert lines[2].endswith(": passed, live.")


def test_the_verdict_survives_json_and_depends_on_the_seed_alone() -> None:
    verdict, _ = _judged(DOUBTFUL, GOOD)
    assert GateVerdict.model_validate_json(verdict.model_dump_json()) == verdict
    assert json.loads(verdict.model_dump_json())["live"] == "1"
    assert _judged(DOUBTFUL, GOOD)[0] == verdict
    other, _ = _judged(DOUBTFUL, GOOD, gate=NoRegretGate(resamples=2_000, seed=1))
    assert other.candidates[0].gain != verdict.candidates[0].gain


def test_a_higher_level_asks_for_more() -> None:
    slight = [0.3, -0.2, 0.3, 0.2, -0.25] * 6
    assert _judged(slight, gate=NoRegretGate(level=0.5))[0].wanted_passed
    assert not _judged(slight, gate=NoRegretGate(level=0.999))[0].wanted_passed


def test_what_nobody_measured_is_an_error_and_never_a_gain_of_nothing() -> None:
    held_out, policies = _world_of(GOOD, BETTER)
    rewards = held_out.rewards.copy()
    rewards[3:6, 2] = np.nan
    held_out = RewardedOffer(held_out.offer, rewards)
    assert GATE.judge({"known": policies[0]}, held_out).live == "known"
    with pytest.raises(ValueError, match="holey chose hints without a measured reward on 3 of 20"):
        GATE.judge({"known": policies[0]}, held_out, fallbacks={"holey": policies[1]})


def test_there_is_something_to_judge_and_something_to_judge_by() -> None:
    held_out, policies = _world_of(GOOD)
    with pytest.raises(ValueError, match="no validation session"):
        GATE.judge({"0": policies[0]}, held_out.rows([]))
    with pytest.raises(ValueError, match="no policy"):
        GATE.judge({}, held_out, fallbacks={"0": policies[0]})
    with pytest.raises(ValueError, match="at once: 0"):
        GATE.judge({"0": policies[0]}, held_out, fallbacks={"0": policies[0]})
    for wrong in ({"level": 1.0}, {"level": 0.0}, {"resamples": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            NoRegretGate(**wrong)  # type: ignore[arg-type]
