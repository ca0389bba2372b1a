"""Which calls a run will make, before it makes any: counts from the sessions, shares guessed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentrec.app.learning.closed_loop import spread
from agentrec.app.learning.recorded_prompts import TYPICAL_HINT, Conversations, recording_components
from agentrec.data import Dataset
from agentrec.graphs.hint_learning.reflection import (
    HINTS_PER_ERROR,
    critique,
    diagnose,
    propose_hints,
)
from agentrec.graphs.hint_learning.trials import FIRST_LOOK
from agentrec.graphs.recommendation.ranking import ground, recommend
from agentrec.llm.cost.estimate import PlannedCalls
from agentrec.llm.cost.usage import Spending
from agentrec.llm.prompts.templates import Prompts
from agentrec.settings.run_settings import RunSettings

ERROR_SHARE = 0.6
REPAIRING_SHARE = 0.33
PROMISING_SHARE = 0.5
REPEATED_SHARE = 0.05
# No hint, and what each of four ways of choosing one comes to.
_TEST_METHODS = 5
_SAMPLES = 8
_REFLECTION = "x" * 600
GUESSED_TOKENS: Mapping[str, int] = {
    "recommend": 150,
    "repair": 150,
    "critique": 250,
    "diagnose": 250,
    "hints": 120,
}


@dataclass(frozen=True)
class CallPlan:
    """Calls that are to be made.

    Attributes:
        calls: By what they are for, in the order in which they begin.
        basis: What the numbers rest on, a line each.
    """

    calls: tuple[PlannedCalls, ...]
    basis: tuple[str, ...]


async def plan_run(
    settings: RunSettings, dataset: Dataset, prompts: Prompts, spendings: Iterable[Spending] = ()
) -> CallPlan:
    """Count the calls of a run; nothing is asked.

    Args:
        settings: The settings.
        dataset: The sessions.
        prompts: The prompts.
        spendings: What earlier attempts paid: how long the model's answers are.
    """
    asked = await _sampled_prompts(settings, dataset, prompts)
    lengths, measured = answer_lengths(spendings)
    train = {session.session_id for session in dataset.train[-settings.max_rewarded :]}
    explored = spread(dataset.train, settings.max_explored)[: _until_full(settings)]
    errors = round(ERROR_SHARE * len(explored))
    proposals = errors * HINTS_PER_ERROR
    probes = min(settings.num_probes, len(dataset.train) - 1)
    tried_on = min(FIRST_LOOK, probes) + PROMISING_SHARE * max(0, probes - FIRST_LOOK)
    nominated = round(REPAIRING_SHARE * proposals)
    most, plan = settings.max_hints, settings.policy.plan(settings.seed)
    offered = min(most, settings.policy.hints_offered(most))
    # The answer without a hint is counted elsewhere.
    tried = offered if plan is None else plan.calls_per_row(most) - 1
    judged = min(len(dataset.valid), settings.max_rewarded)
    unaided = len(train | {session.session_id for session in explored})
    shown = {
        "rank without a hint": ("recommend", unaided),
        "prove hints": ("hinted", proposals + round(nominated * tried_on)),
        "reward hints, train": ("hinted", len(train) * tried),
        "reward hints, valid": ("hinted", judged * (1 + offered)),
        "rank test sessions": (
            "hinted",
            len(dataset.test) * min(_TEST_METHODS, 1 + settings.max_hints),
        ),
    }
    shuffles = settings.llm.shuffles
    rankings = shuffles * sum(count for _, count in shown.values())
    planned = [
        PlannedCalls(title, shuffles * count, asked[node], lengths["recommend"])
        for title, (node, count) in shown.items()
    ]
    planned += [
        PlannedCalls(node, errors, asked[node], lengths[node])
        for node in ("critique", "diagnose", "hints")
    ]
    repeated = round(REPEATED_SHARE * rankings)
    planned.append(PlannedCalls("ask again", repeated, asked["repair"], lengths["repair"]))
    return CallPlan(
        tuple(planned),
        (
            f"{len(explored)} sessions explored, {settings.max_hints} hints, {len(train)} sessions"
            f" rewarded with {tried} of them each, each session asked {shuffles}x",
            f"guessed: {ERROR_SHARE:.0%} errors; of {HINTS_PER_ERROR} proposals each"
            f" {REPAIRING_SHARE:.0%} repair theirs; {PROMISING_SHARE:.0%} of these are tried on all"
            f" {probes} probes and stored; {REPEATED_SHARE:.0%} of answers fall short",
            f"length of prompts from {len(asked['recommend'])} training sessions,"
            " 4 characters a token; of answers "
            + (f"from {measured} paid answers" if measured else "guessed"),
        ),
    )


def _until_full(settings: RunSettings) -> int:
    """After how many sessions the knowledge base is full, those in flight then included."""
    stored = ERROR_SHARE * HINTS_PER_ERROR * REPAIRING_SHARE * PROMISING_SHARE
    return math.ceil(settings.max_hints / stored) + settings.limits.max_concurrency


async def _sampled_prompts(
    settings: RunSettings, dataset: Dataset, prompts: Prompts
) -> dict[str, Conversations]:
    """Conversations of a few training sessions, by node; ``hinted`` for rankings with a hint."""
    components, plain = recording_components(settings, dataset, prompts)
    hinting, hinted = recording_components(settings, dataset, prompts)
    for session in spread(dataset.train, _SAMPLES):
        ranking = await ground(await recommend(session, None, components), components)
        await critique(session, ranking, components)
        await diagnose(session, ranking, _REFLECTION, components)
        await propose_hints(session, ranking, _REFLECTION, components)
        await recommend(session, TYPICAL_HINT, hinting)
    return {**plain.asked, "hinted": hinted.asked["recommend"]}


def answer_lengths(spendings: Iterable[Spending]) -> tuple[dict[str, float], int]:
    """Tokens of an answer by node, and how many answers say so."""
    lengths: dict[str, float] = dict(GUESSED_TOKENS)
    answers: dict[str, int] = {}
    written: dict[str, int] = {}
    for each in spendings:
        if each.node in lengths and each.output_tokens:
            answers[each.node] = answers.get(each.node, 0) + each.answers
            written[each.node] = written.get(each.node, 0) + each.output_tokens
    lengths.update({node: written[node] / answers[node] for node in answers})
    return lengths, sum(answers.values())
