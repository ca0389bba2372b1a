"""CPU of the recommendation graph beside an empty graph of as many nodes, in one run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from benchmarks.recommending_parts import NODES, InstantModel, empty_graph, load, parts, sessions

from agentrec.components import Components
from agentrec.contracts import HintPolicy
from agentrec.graphs.recommendation.build_offer import offer_hints
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.hint_offers import RewardedOffer
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.trainer import ScoringPPOTrainer
from agentrec.sessions import Session

RUNS = 200
ROUNDS = 7
TRAINED = 50


async def cpu_per_run(run: Callable[[Session], Awaitable[object]], start: int) -> float:
    asked = list(sessions(RUNS, start))
    begun = time.process_time()
    for session in asked:
        await run(session)
    return (time.process_time() - begun) / RUNS


async def policy_trained_for(components: Components) -> HintPolicy:
    """Trained for a moment: what it has learnt does not change what choosing costs."""
    offer = await offer_hints(list(sessions(TRAINED)), components)
    gains = np.random.default_rng(1).normal(size=(TRAINED, 1 + offer.width)) / 5
    gains[:, 0] = 0
    config = PPOConfig(iterations=2)
    return ScoringPPOTrainer(config).fit(RewardedOffer(offer, gains.astype(np.float32)))


@pytest.mark.bench
@pytest.mark.parametrize("policy", ["random", "scoring_ppo"])
async def test_cpu_of_the_recommendation_graph(policy: str) -> None:
    components = await parts(ModelGateway(InstantModel(), "instant"))
    if policy == "scoring_ppo":
        components = replace(components, hint_policy=await policy_trained_for(components))
    recommending, empty = build_recommendation_graph(), empty_graph()
    ratios, ours, bares, above = [], [], [], []
    for n in range(ROUNDS + 1):
        own = await cpu_per_run(
            lambda s: recommending.ainvoke({"session": s}, context=components), n * RUNS
        )
        bare = await cpu_per_run(lambda s: empty.ainvoke({"session": s}), n * RUNS)
        model = await cpu_per_run(lambda s: InstantModel().ainvoke(s.session_id), n * RUNS)
        if n:  # the first round warms up
            ratios.append(own / bare)
            above.append((own - model) / bare)
            ours.append(own)
            bares.append(bare)
    print(
        f"\nrecommendation graph, {policy}: {1000 * median(ours):.2f} ms CPU a session, "
        f"{median(ratios):.2f} x an empty graph of {NODES} nodes, "
        f"{1000 * median(bares):.2f} ms (rounds: "
        + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        + f"); without LangChain's own part of the model's call {median(above):.2f} x; {load()}"
    )
    assert all(ratio > 0 for ratio in ratios)
