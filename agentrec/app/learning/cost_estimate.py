"""What a run would ask, word for word, with nobody asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import BaseMessage

from agentrec.app.learning.closed_loop import spread
from agentrec.app.reports.tables import Column, Report, Table
from agentrec.components import Components
from agentrec.data import Dataset
from agentrec.graphs.hint_learning.reflection import (
    HINTS_PER_ERROR,
    critique,
    diagnose,
    propose_hints,
)
from agentrec.graphs.hint_learning.trials import FIRST_LOOK
from agentrec.graphs.recommendation.ranking import ground, recommend
from agentrec.hints import Hint
from agentrec.llm.cost.estimate import CallEstimate, PlannedCalls, estimate_calls
from agentrec.llm.cost.usage import PriceTable, Spending
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.runs.run_folder import RunFolder
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.hints.logged_store import InMemoryHintStore

Conversations = list[Sequence[BaseMessage]]

TYPICAL_HINT = Hint(text="Prefer what shares its genre and its decade with the end of the history.")


class PromptRecorder(ModelGateway):
    """Keeps what it is asked and answers in a word, so that prompts are those of a run."""

    def __init__(self) -> None:
        super().__init__(FakeListChatModel(responses=[]), "nobody", structured="never")
        self.asked: dict[str, Conversations] = {}

    async def ask(
        self, node: str, messages: Sequence[BaseMessage], sample: int = 0, **_: Any
    ) -> str:
        """Keep the conversation."""
        self.asked.setdefault(node, []).append(messages)
        return "none"


@dataclass(frozen=True)
class _NoEncoder:
    """Nothing is searched for."""

    nothing: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        return self.nothing

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        return self.nothing

    def states(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return np.zeros((len(sessions), 1), np.float32)

    def queries(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return np.zeros((len(sessions), 1), np.float32)


def recording_components(
    settings: RunSettings, dataset: Dataset, prompts: Prompts
) -> tuple[Components, PromptRecorder]:
    """Parts that make the prompts of a run, and what keeps them."""
    recorder = PromptRecorder()
    components = Components(
        catalog=dataset.catalog,
        model=recorder,
        prompts=prompts,
        embeddings=HashedWordEmbeddings(1),
        encoder=_NoEncoder(),
        hint_store=InMemoryHintStore(1),
        hint_policy=NoHintPolicy(),
        seed=settings.seed,
        max_candidates=settings.llm.max_candidates,
        label_length=settings.llm.label_length,
    )
    return components, recorder


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


_SECONDS_PER_CALL = 2.0


async def estimate_run(
    settings: RunSettings, dataset: Dataset, prompts: Prompts, model: str | None
) -> Report:
    """Report calls, tokens, money and time of a run, and what the estimate is based on.

    Args:
        settings: The settings.
        dataset: The sessions.
        prompts: The prompts.
        model: The model's identity; ``None`` for the embedded one.
    """
    paid = await paid_in(RunFolder(settings.run).calls)
    plan = await plan_run(settings, dataset, prompts, paid)
    return plan_report(plan, settings, model, paid, settings.run)


def plan_report(
    plan: CallPlan,
    settings: RunSettings,
    model: str | None,
    paid: Sequence[Spending],
    folder: Path,
) -> Report:
    """Report what planned calls would cost.

    Args:
        plan: The calls.
        settings: Prices, limits and the budget.
        model: The model's identity; ``None`` for the embedded one.
        paid: What was paid before.
        folder: Where the paid answers are.
    """
    prices, limits = settings.prices.table(), settings.limits.limits()
    name = model or "the embedded model"
    total = estimate_calls(
        plan.calls, name, prices=prices, limits=limits, seconds_per_call=_SECONDS_PER_CALL
    )
    estimates = {each.node: estimate_calls([each], name, prices=prices) for each in plan.calls}
    yield Table(
        f"What a run with {name} would cost",
        (
            Column("for", "<"),
            Column("calls", ","),
            Column("tokens read", ","),
            Column("tokens written", ","),
            Column(prices.currency or "money", ",.4f"),
        ),
        tuple(
            (title, each.calls, each.input_tokens, each.output_tokens, each.money)
            for title, each in {**estimates, "total": total}.items()
        ),
    )
    yield from _advice(settings, prices, model, total)
    if model is not None:
        rates = {"calls": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
        yield (
            f"time: {timedelta(seconds=round(total.seconds))} or more, with"
            f" {limits.max_concurrency} calls at a time of {_SECONDS_PER_CALL:g} s each"
            + "".join(f", {rate:g} {what} a minute" for what, rate in rates.items() if rate)
        )
    yield from (f"based on: {line}" for line in plan.basis)
    if answers := sum(each.answers for each in paid):
        yield f"{answers:,} answers are in {folder} already and cost nothing again"
    yield "Nothing was asked and nothing is paid."


async def paid_in(file: Path) -> tuple[Spending, ...]:
    """What a call journal says was paid; nothing where there is none."""
    if not await asyncio.to_thread(file.is_file):
        return ()
    async with await CallJournal.open(file) as journal:
        return await journal.spendings()


def _advice(
    settings: RunSettings, prices: PriceTable, model: str | None, total: CallEstimate
) -> list[str]:
    if model is None:
        return ["The embedded model runs on this computer and costs nothing."]
    tokens, money = settings.budget.tokens, settings.budget.money
    lines = []
    if total.money is None:
        lines.append(f"money: no price of {settings.llm.name} is set (settings, prices.models)")
    if tokens is None and money is None:
        return [*lines, "No budget is set; --limit-cost or --limit-tokens sets one."]
    parts = [] if tokens is None else [f"{tokens:,} tokens"]
    parts += [] if money is None else [prices.shown(money)]
    too_small = (tokens is not None and total.input_tokens + total.output_tokens > tokens) or (
        money is not None and total.money is not None and total.money > money
    )
    verdict = "which is less than this" if too_small else "which is enough for this"
    return [*lines, f"The budget is {' and '.join(parts)}, {verdict}."]
