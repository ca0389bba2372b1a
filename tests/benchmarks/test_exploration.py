"""Exploring until 20 hints are admitted: what the hints do to sessions they were not tried on.

MovieLens-100K, or the folder that ``AGENTREC_BENCH_DATA`` names; ``AGENTREC_BENCH_SEED`` is 0
unless told.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from benchmarks.hint_effects import HintEffects, hint_effects
from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.exploration import explore, most_alike, spread
from agentrec.app.learning.reward_measurement import fill_reward_table
from agentrec.assembly import component_settings, know_catalog, teach_embedded_model
from agentrec.components import Components
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts
from agentrec.named_components import NamedEmbeddings, open_embeddings
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.runs.open_run import load_data
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.hints.logged_store import InMemoryHintStore

CONCURRENCY, NEAR = 64, 64


async def prepared(settings: RunSettings) -> tuple[Components, list[Session], list[Session]]:
    """The parts, training and validation sessions."""
    display = ConsoleProgress(Console(file=io.StringIO()))
    dataset = await load_data(settings)
    embeddings = open_embeddings(settings.embeddings)
    named = NamedEmbeddings(embeddings, settings.embeddings)
    knowledge = await know_catalog(dataset.catalog, dataset.train, named, display)
    model = await teach_embedded_model(dataset.catalog, knowledge, display, settings.lm_steps)
    encoder = RecencySessionEncoder(dataset.catalog, knowledge.features, knowledge.text_vectors)
    gateway, prompts = ModelGateway(model, model.catalog_model.name), Prompts.load()
    components = Components(
        catalog=dataset.catalog,
        model=gateway,
        prompts=prompts,
        embeddings=embeddings,
        encoder=encoder,
        hint_store=InMemoryHintStore(knowledge.text_vectors.shape[1]),
        hint_policy=NoHintPolicy(),
        **component_settings(settings),
    )
    return components, list(dataset.train), list(dataset.valid)


def reference_calls(explored: int, errors: int, tried: int) -> int:
    """What the paper's procedure asks: a ranking each, three reflections an error, each trial."""
    return explored + 3 * errors + tried


@pytest.mark.bench
@pytest.mark.enable_socket
@pytest.mark.filterwarnings("default")
async def test_admitted_hints_on_validation_sessions() -> None:
    folder = os.environ.get("AGENTREC_BENCH_DATA")
    seed = int(os.environ.get("AGENTREC_BENCH_SEED", "0"))
    settings = RunSettings(data=Path(folder) if folder else None, seed=seed)
    components, train, valid = await prepared(settings)
    exploration = await explore(
        spread(train, settings.max_explored),
        components,
        build_hint_learning_graph(),
        CONCURRENCY,
        lambda: None,
        train,
        settings.num_probes,
    )
    made = dict(components.model.calls["made"])
    hints = await components.hint_store.all(("admitted", "nominated"))
    table = await fill_reward_table(valid, hints, components, CONCURRENCY, lambda: None)
    gains = (table.ndcg[:, 1:] - table.ndcg[:, :1]).astype(np.float64)
    effects = hint_effects(hints, gains, alike(hints, train, valid, components), seed)
    show(effects)
    tried = made["recommend"] - exploration.explored
    print(
        f"explored {exploration.explored}, errors {exploration.errors}, admitted"
        f" {len(exploration.hints)}, ended: {exploration.ended}; refused"
        f" {dict(Counter(exploration.refusals))}\ncalls made {sum(made.values())}: {made};"
        f" questions {exploration.questions}, rankings beyond the first {tried}"
    )
    assert effects.share_positive >= 0.5
    assert effects.difference is None or effects.difference.mean > 0


def alike(
    hints: Sequence[Hint], train: Sequence[Session], valid: Sequence[Session], parts: Components
) -> npt.NDArray[np.bool_]:
    """Which validation sessions are the 64 most like the session that a hint comes from."""
    sources = {session.session_id: session for session in train}
    nearest = most_alike(valid, parts, NEAR)
    near = np.zeros((len(valid), len(hints)), dtype=bool)
    places = {session.session_id: place for place, session in enumerate(valid)}
    for column, hint in enumerate(hints):
        source = sources[hint.provenance.session_id if hint.provenance else ""]
        near[[places[session.session_id] for session in nearest(source)], column] = True
    return near


def show(effects: HintEffects) -> None:
    """Every hint with its evidence, and what it did on validation sessions."""
    print(f"\n{effects.sessions} validation sessions")
    for effect in sorted(effects.effects, key=lambda e: (e.hint.state, -e.near.mean)):
        near, everywhere = effect.near, effect.everywhere
        print(
            f"{told(effect.hint)} | near {near.mean:+.3f} [{near.low:+.3f}, {near.high:+.3f}]"
            f" {effect.wins}+ {effect.losses}- | all {everywhere.mean:+.3f}"
            f" | {effect.hint.text[:70]}"
        )
    for name in ("admitted", "refused", "difference"):
        value = getattr(effects, name)
        if value is not None:
            print(f"{name}: {value.mean:+.4f} [{value.low:+.4f}, {value.high:+.4f}]")
    print(f"admitted with a positive mean: {effects.share_positive:.0%}")


def told(hint: Hint) -> str:
    """State and evidence in a few characters."""
    seen = hint.evidence
    if seen is None:
        return f"{hint.state:<9}"
    return (
        f"{hint.state:<9} {seen.sessions:>3} sessions {seen.mean_gain:+.3f} low {seen.low:+.3f}"
        f" {seen.wins}/{seen.ties}/{seen.losses} harm {seen.harm_rate:.0%}"
    )
