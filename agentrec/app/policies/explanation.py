"""Why a policy chose what it chose for one session, from the policy and the run it belongs to."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt
from rich.console import Console

from agentrec.app.learning.run_rewards import RunRewards, reopen_run
from agentrec.app.policies.evaluation import offered_to, policy_folder
from agentrec.app.reports.choice_report import ExplainedChoice, ExplainedOption
from agentrec.contracts import HintPolicy
from agentrec.errors import InputError
from agentrec.evaluation.metrics import ndcg
from agentrec.graphs.recommendation.build_offer import offer_hints
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hint_offers import HintChoices, HintOffer, unit_rows
from agentrec.hints import Hint
from agentrec.policies.hint_policies.value_regression import ValueRegressionPolicy
from agentrec.policies.policy_kinds import load_policy
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import RunFolder
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings

_NEIGHBOURS = 20
_WITHOUT_VARIANCE = 1e-6


async def explain_choice(
    settings: RunSettings, name: str, session_id: str, console: Console
) -> ExplainedChoice:
    """Say what a policy chooses for a session of the run's data, among what, and why.

    Where the target is known, the session is ranked without a hint and with the chosen one, which
    takes at most two calls; what was asked before takes none.

    Args:
        settings: Those of the run.
        name: The policy, or ``live``.
        session_id: A session of any split.
        console: Where progress and usage are shown.

    Raises:
        InputError: If there is no such policy or session.
        ModelCallError: If a call failed for good.
    """
    folder = policy_folder(RunFolder(settings.run), name)
    policy = await asyncio.to_thread(load_policy, folder)
    nearest = await asyncio.to_thread(offered_to, folder, settings.policy)
    async with reopen_run(settings, console, nearest=nearest) as (parts, rewards):
        session = _session(parts, session_id)
        offer = await offer_hints([session], parts.components)
        choices = await asyncio.to_thread(policy.choose, offer)
        # Of other sessions only what is known: explaining one is not to cost what training did.
        table = await rewards.measured("train", ())
        trained = await rewards.offer("train")
        chosen = next((h for h in offer.hints if h.hint_id == choices.hint_ids[0]), None)
        ranks = await _ranks(session, chosen, parts)

        def explained() -> ExplainedChoice:
            index = parts.dataset.catalog
            return ExplainedChoice(
                session_id=session_id,
                history=tuple(index[one].title for one in session.items),
                policy=name,
                options=_options(policy, offer, choices, ranks),
                log_probability=float(choices.log_probabilities[0]),
                value=float(choices.values[0]),
                state=_unusual(parts, offer, trained),
                deciding=_deciding(policy, parts, offer, choices, trained),
                neighbours=_neighbours(offer, trained, table, chosen, rewards, session_id),
                target=None if session.target is None else index[session.target].title,
                rank_without=ranks[0],
                rank_with=ranks[1],
            )

        return await asyncio.to_thread(explained)


def _session(parts: OpenRun, session_id: str) -> Session:
    for _, sessions in parts.dataset.splits():
        for session in sessions:
            if session.session_id == session_id:
                return session
    some = ", ".join(session.session_id for session in parts.dataset.test[:3])
    raise InputError(
        f"there is no session {session_id!r}; the test sessions begin with {some}", field="session"
    )


async def _ranks(
    session: Session, hint: Hint | None, parts: OpenRun
) -> tuple[int | None, int | None]:
    """Rank of the target without a hint and with one, 0 for not listed; ``None`` if not known."""
    if session.target is None or not session.candidates:
        return None, None
    plain = (await rank(session, None, parts.components)).rank_of(session.target) or 0
    if hint is None:
        return plain, None
    return plain, (await rank(session, hint, parts.components)).rank_of(session.target) or 0


def _options(
    policy: HintPolicy,
    offer: HintOffer,
    choices: HintChoices,
    ranks: tuple[int | None, int | None],
) -> tuple[ExplainedOption, ...]:
    predicted = policy.predicted(offer)[0] if isinstance(policy, ValueRegressionPolicy) else None
    probable = isinstance(policy, PPOHintPolicy)
    texts = {hint.hint_id: hint.text for hint in offer.hints}
    columns = {
        offer.hints[index].hint_id: column
        for column, index in enumerate(offer.candidates[0].tolist())
        if index >= 0
    }
    measured = None
    if ranks[0] is not None and ranks[1] is not None:
        measured = ndcg(ranks[1] or None) - ndcg(ranks[0] or None)
    options = []
    for hint_id, score in choices.scores_of(0).items():
        column = None if hint_id is None else columns[hint_id]
        chosen = hint_id == choices.hint_ids[0]
        options.append(
            ExplainedOption(
                hint_id=hint_id,
                text="" if hint_id is None else texts[hint_id],
                score=score,
                probability=float(np.exp(score)) if probable else None,
                similarity=None if column is None else float(offer.similarities[0, column]),
                predicted_gain=None
                if predicted is None
                else float(predicted[0 if column is None else 1 + column]),
                measured_gain=measured if chosen and hint_id is not None else None,
                chosen=chosen,
            )
        )
    return tuple(options)


def _blocks(parts: OpenRun) -> dict[str, slice]:
    """Where each named part of a state is; none of an encoder that does not tell."""
    encoder = parts.components.encoder
    if not isinstance(encoder, RecencySessionEncoder):
        return {}
    return {str(name): block for name, block in encoder.block_slices.items()}


def _unusual(parts: OpenRun, offer: HintOffer, trained: HintOffer) -> tuple[tuple[str, float], ...]:
    """Of each part of the state, how far it is from the average, in standard deviations."""
    mean, spread = trained.states.mean(axis=0), trained.states.std(axis=0)
    varies = spread > _WITHOUT_VARIANCE
    distances = np.where(varies, (offer.states[0] - mean) / np.where(varies, spread, 1), 0)
    return tuple(
        (name, float(np.sqrt(np.square(distances[block]).mean())))
        for name, block in _blocks(parts).items()
        if distances[block].size
    )


def _deciding(
    policy: HintPolicy,
    parts: OpenRun,
    offer: HintOffer,
    choices: HintChoices,
    trained: HintOffer,
) -> tuple[tuple[str, float], ...]:
    """By how much the chosen option's margin falls if a part of the state is an average one."""
    own = int(choices.options[0])

    def margin(states: npt.NDArray[np.float32]) -> float:
        scores = policy.choose(offer.with_states(states)).scores[0].astype(np.float64)
        others = np.delete(scores, own)
        return float(scores[own] - others.max()) if len(others) else 0.0

    whole, mean = margin(offer.states), trained.states.mean(axis=0)
    falls = []
    for name, block in _blocks(parts).items():
        states = offer.states.copy()
        states[0, block] = mean[block]
        falls.append((name, whole - margin(states)))
    shown = [(name, fall) for name, fall in falls if np.isfinite(fall)]
    # A policy that does not look at sessions decides by nothing of them.
    return tuple(shown) if any(abs(fall) > _WITHOUT_VARIANCE for _, fall in shown) else ()


def _neighbours(
    offer: HintOffer,
    trained: HintOffer,
    table: RewardTable,
    hint: Hint | None,
    rewards: RunRewards,
    session_id: str,
) -> tuple[tuple[str, float, float], ...]:
    """Training sessions most like this one that were measured under the chosen hint."""
    if hint is None:
        return ()
    column = 1 + [one.hint_id for one in rewards.hints].index(hint.hint_id)
    gains = table.gains[:, column]
    mean, spread = trained.states.mean(axis=0), np.maximum(trained.states.std(axis=0), 1e-6)
    rows = unit_rows((trained.states - mean) / spread)
    alike = rows @ unit_rows((offer.states - mean) / spread)[0]
    nearest: list[int] = np.argsort(-alike, kind="stable").tolist()
    found = [
        (table.session_ids[row], float(alike[row]), float(gains[row]))
        for row in nearest
        if np.isfinite(gains[row]) and table.session_ids[row] != session_id
    ]
    return tuple(found[:_NEIGHBOURS])
