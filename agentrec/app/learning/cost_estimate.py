"""What a run or a batch would cost: its prompts, word for word, without a call: ``--dry-run``."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import BaseMessage

from agentrec.app.learning.exploration import spread
from agentrec.app.reports.tables import Column, Report, Table
from agentrec.batch.partitions import BatchOptions
from agentrec.components import Components
from agentrec.data import Dataset
from agentrec.data.session_rows import (
    RejectedRow,
    SessionRow,
    count_session_rows,
    read_session_rows,
)
from agentrec.errors import InputError
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
from agentrec.progress import ProgressDisplay
from agentrec.runs.open_run import ResolvedRun, resolve_run
from agentrec.runs.run_folder import RunFolder
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.hints.logged_store import InMemoryHintStore

Conversations = list[Sequence[BaseMessage]]

_TYPICAL_HINT = Hint(
    text="Prefer what shares its genre and its decade with the end of the history."
)


class _PromptRecorder(ModelGateway):
    """Records conversations and answers with one word."""

    def __init__(self) -> None:
        super().__init__(FakeListChatModel(responses=[]), "nobody", structured="never")
        self.asked: dict[str, Conversations] = {}

    async def ask(
        self, node: str, messages: Sequence[BaseMessage], sample: int = 0, **_: Any
    ) -> str:
        self.asked.setdefault(node, []).append(messages)
        return "none"


@dataclass(frozen=True)
class _NoEncoder:
    """An encoder for prompts, which need no vectors."""

    vector: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        return self.vector

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        return self.vector

    def states(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return np.zeros((len(sessions), 1), np.float32)

    def queries(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return np.zeros((len(sessions), 1), np.float32)


def _recording_components(
    settings: RunSettings, dataset: Dataset, prompts: Prompts
) -> tuple[Components, _PromptRecorder]:
    """Components that make the prompts of a run, and their recorder."""
    recorder = _PromptRecorder()
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


_ERROR_SHARE = 0.6
_REPAIRING_SHARE = 0.33
_PROMISING_SHARE = 0.5
_REPEATED_SHARE = 0.05
# No hint, and four ways of choosing one.
_TEST_METHODS = 5
# Sessions for which prompts are made.
_SAMPLES, _BATCH_SAMPLES = 8, 16
# Rows of a batch that are read to find the share of usable ones.
_BATCH_ROWS = 2_000
_REFLECTION = "x" * 600
_SECONDS_PER_CALL = 2.0
_ASSUMED_TOKENS: Mapping[str, int] = {
    "recommend": 150,
    "repair": 150,
    "critique": 250,
    "diagnose": 250,
    "hints": 120,
}


@dataclass(frozen=True)
class CallPlan:
    """Calls that will be made.

    Attributes:
        calls: By what they are for, in the order in which they begin.
        basis: What the numbers are based on, one line each.
    """

    calls: tuple[PlannedCalls, ...]
    basis: tuple[str, ...]


async def plan_run(
    settings: RunSettings, dataset: Dataset, prompts: Prompts, spendings: Iterable[Spending] = ()
) -> CallPlan:
    """Count the calls of a run; what earlier attempts paid tells the length of answers."""
    asked = await _sampled_prompts(settings, dataset, prompts)
    samples = f"{len(asked['recommend'])} training sessions"
    lengths, basis = _answer_lengths(spendings, samples)
    train = {session.session_id for session in dataset.train[-settings.max_rewarded :]}
    stored = _ERROR_SHARE * HINTS_PER_ERROR * _REPAIRING_SHARE * _PROMISING_SHARE
    until_full = math.ceil(settings.max_hints / stored) + settings.limits.max_concurrency
    explored = spread(dataset.train, settings.max_explored)[:until_full]
    errors = round(_ERROR_SHARE * len(explored))
    proposals = errors * HINTS_PER_ERROR
    probes = min(settings.num_probes, len(dataset.train) - 1)
    tried_on = min(FIRST_LOOK, probes) + _PROMISING_SHARE * max(0, probes - FIRST_LOOK)
    nominated = round(_REPAIRING_SHARE * proposals)
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
        "rank test sessions": ("hinted", len(dataset.test) * min(_TEST_METHODS, 1 + most)),
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
    repeated = round(_REPEATED_SHARE * rankings)
    planned.append(PlannedCalls("ask again", repeated, asked["repair"], lengths["repair"]))
    return CallPlan(
        tuple(planned),
        (
            f"{len(explored)} sessions explored, {most} hints, {len(train)} sessions"
            f" rewarded with {tried} of them each, each session asked {shuffles}x",
            f"assumed: {_ERROR_SHARE:.0%} errors; of {HINTS_PER_ERROR} proposals each"
            f" {_REPAIRING_SHARE:.0%} repair theirs; {_PROMISING_SHARE:.0%} of these are tried on"
            f" all {probes} probes and stored; {_REPEATED_SHARE:.0%} of answers are incomplete",
            basis,
        ),
    )


async def _sampled_prompts(
    settings: RunSettings, dataset: Dataset, prompts: Prompts
) -> dict[str, Conversations]:
    """Conversations of a few training sessions, by node; ``hinted`` for rankings with a hint."""
    components, plain = _recording_components(settings, dataset, prompts)
    hinting, hinted = _recording_components(settings, dataset, prompts)
    for session in spread(dataset.train, _SAMPLES):
        ranking = await ground(await recommend(session, None, components), components)
        await critique(session, ranking, components)
        await diagnose(session, ranking, _REFLECTION, components)
        await propose_hints(session, ranking, _REFLECTION, components)
        await recommend(session, _TYPICAL_HINT, hinting)
    return {**plain.asked, "hinted": hinted.asked["recommend"]}


def _answer_lengths(paid: Iterable[Spending], prompts: str) -> tuple[dict[str, float], str]:
    """Tokens of an answer by node, and what the lengths of prompts and answers are based on."""
    lengths: dict[str, float] = dict(_ASSUMED_TOKENS)
    answers, written = Counter[str](), Counter[str]()
    for each in paid:
        if each.node in lengths and each.output_tokens:
            answers[each.node] += each.answers
            written[each.node] += each.output_tokens
    lengths.update({node: written[node] / answers[node] for node in answers})
    return lengths, (
        f"length of prompts from {prompts}, 4 characters a token; of answers "
        + (f"from {answers.total()} paid answers" if answers else "assumed")
    )


async def estimate_run(settings: RunSettings, display: ProgressDisplay) -> Report:
    """Report calls, tokens, money and time of a run; no call is made and nothing is written.

    Raises:
        InputError: If a setting or a file cannot be used.
        FetchError: If MovieLens-100K cannot be downloaded.
    """
    run = await resolve_run(settings, display)
    paid = await _paid_in(run.folder.calls)
    plan = await plan_run(settings, run.dataset, run.prompts, paid)
    return _plan_report(plan, run, paid, settings.run)


async def estimate_batch(
    settings: RunSettings, options: BatchOptions, display: ProgressDisplay
) -> Report:
    """Report the same for a batch with the model of a run; see ``estimate_run``."""
    run = await resolve_run(settings, display)
    paid = await _paid_in(RunFolder(options.out, "--out").calls)
    earlier = (*paid, *await _paid_in(run.folder.calls))
    plan = await _plan_batch(run, options.sessions, earlier)
    return _plan_report(plan, run, paid, options.out)


async def _plan_batch(run: ResolvedRun, file: Path, paid: Iterable[Spending]) -> CallPlan:
    rows, num_rows = await asyncio.to_thread(_first_rows, run, file)
    sessions = [row.session for row in rows if isinstance(row, SessionRow)]
    if not sessions:
        raise InputError(f"none of its first {len(rows)} rows is a usable session", file=file)
    sample = sessions[:: max(1, len(sessions) // _BATCH_SAMPLES)][:_BATCH_SAMPLES]
    components, recorder = _recording_components(run.settings, run.dataset, run.prompts)
    for session in sample:
        await ground(await recommend(session, _TYPICAL_HINT, components), components)
    lengths, basis = _answer_lengths(paid, f"{len(sample)} sessions")
    shuffles, asked = run.settings.llm.shuffles, recorder.asked
    rankings = shuffles * round(num_rows * len(sessions) / len(rows))
    repeated = round(_REPEATED_SHARE * rankings)
    return CallPlan(
        (
            PlannedCalls("rank", rankings, asked["recommend"], lengths["recommend"]),
            PlannedCalls("ask again", repeated, asked["repair"], lengths["repair"]),
        ),
        (
            f"{num_rows:,} rows; of the first {len(rows):,}, {len(sessions):,} are sessions;"
            f" each asked {shuffles}x, with a hint",
            f"assumed: {_REPEATED_SHARE:.0%} of answers are incomplete and asked for again",
            basis,
        ),
    )


def _first_rows(run: ResolvedRun, file: Path) -> tuple[list[SessionRow | RejectedRow], int]:
    """The first rows of a file, and how many it has; blocks."""
    rows = list(islice(read_session_rows(file, run.dataset.catalog), _BATCH_ROWS))
    return rows, count_session_rows(file) or len(rows)


def _plan_report(
    plan: CallPlan, run: ResolvedRun, paid: Sequence[Spending], folder: Path
) -> Report:
    """Report what planned calls would cost, beyond the answers that are in ``folder``."""
    settings, model = run.settings, None if run.named is None else run.named.identity
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


async def _paid_in(file: Path) -> tuple[Spending, ...]:
    """What was paid according to a call journal; nothing if there is none."""
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
