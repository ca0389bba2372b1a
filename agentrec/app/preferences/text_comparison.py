"""Judging what models write about sessions: `agentrec rewardmodel eval`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.console import Console

from agentrec.app.preferences.reranking import (
    RelevantRanks,
    Reranker,
    SessionTexts,
    TextsReport,
    texts_report,
)
from agentrec.app.preferences.reward_modelling import obtain_reward_model
from agentrec.app.preferences.run_collection import opened
from agentrec.app.preferences.text_writing import factors_of, texts_for
from agentrec.app.reports.preference_report import text_comparison_report
from agentrec.app.reports.tables import show
from agentrec.components import Components
from agentrec.data.dataset import SplitName
from agentrec.errors import InputError
from agentrec.hints import Hint
from agentrec.named_components import open_model
from agentrec.policies.policy_kinds import load_policy
from agentrec.runs.open_run import OpenRun, with_model
from agentrec.runs.run_folder import write_json, writing
from agentrec.settings.run_settings import RunSettings


async def evaluate_texts(
    settings: RunSettings,
    tuned: Sequence[str],
    console: Console,
    split: SplitName = "test",
) -> TextsReport:
    """Rank sessions without texts, with the run's model's texts, and with other models'.

    The report is put into the run folder as ``texts.json``, or ``texts.SPLIT.json`` for other
    sessions than those of the test.

    Args:
        settings: Those of the run.
        tuned: Other models, as ``provider:model``.
        console: Where to say what came of it.
        split: Which sessions. Choose settings by ``valid``, and look at ``test`` at the end.

    Raises:
        InputError: If a model cannot be opened, or there is no session to judge by.
        ModelCallError: If a ranking failed for good, or the budget is spent.
    """
    others = [open_model(name, {}, settings.llm.timeout) for name in tuned]
    async with opened(settings, console) as parts:
        sessions = [
            one
            for one in dict(parts.dataset.splits())[split]
            if one.target is not None and one.candidates
        ]
        if not sessions:
            raise InputError(f"there is no {split} session with candidates", field="data")
        reward_model = await obtain_reward_model(parts, settings.prefer)
        judge = _Judge(Reranker(sessions, settings.prefer.shown_share, parts, reward_model))
        await judge.without_texts(settings.prefer.backbone)
        await judge.with_hints()
        await judge.add("", parts.components, "the run's model")
        for number, writer in enumerate(others, start=1):
            called = f" tuned {number}" if len(others) > 1 else " tuned"
            async with with_model(parts, writer) as components:
                await judge.add(called, components, writer.identity)
        report = await asyncio.to_thread(judge.report)
        name = "texts.json" if split == "test" else f"texts.{split}.json"
        with writing(parts.folder.path):
            content = report.model_dump(mode="json")
            await asyncio.to_thread(write_json, parts.folder.path / name, content)
        show(text_comparison_report(report, f"{parts.dataset.name}, {split}"), console)
    return report


class _Judge:
    """Collects what methods make of the same sessions."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self._ranks: dict[str, RelevantRanks] = {}
        self._differences: list[tuple[str, str]] = []
        self._failed: dict[str, int] = {}
        self._preferred: dict[str, list[float]] = {}
        self._hints: list[Hint | None] | None = None
        self._backbone = ""

    async def without_texts(self, backbone: str) -> None:
        """The backbone and the run's model by themselves."""
        reranker, parts = self._reranker, self._parts
        nothing = SessionTexts.none(len(reranker.sessions))
        self._backbone = backbone
        self._ranks[backbone] = await reranker.by_recommender(nothing)
        self._ranks["llm"] = await reranker.by_model(
            nothing, parts.components, "Rankings without texts"
        )

    async def with_hints(self) -> None:
        """What the run's live policy chooses, if there is one, beside texts from here on."""
        folder = self._parts.folder.live
        if not await asyncio.to_thread(folder.is_dir):
            return
        policy = await asyncio.to_thread(load_policy, folder)
        self._hints = await self._reranker.chosen_hints(policy)
        nothing = SessionTexts.none(len(self._reranker.sessions))
        self._ranks["hint"] = await self._reranker.by_model(
            nothing, self._parts.components, "Rankings with hints", self._hints
        )
        self._differences.append(("hint", "llm"))

    async def add(self, called: str, writer: Components, name: str) -> None:
        """What comes of the texts of one model.

        Args:
            called: What is put behind the names of its methods; empty for the run's model.
            writer: The parts, with the model that writes.
            name: Of the model, for people.
        """
        reranker, parts = self._reranker, self._parts
        factors = await factors_of(parts)

        async def written(title: str, share: float) -> list[str | None]:
            return await texts_for(
                title, reranker.sessions, factors, parts, share=share, components=writer
            )

        texts = SessionTexts(
            await written(f"Texts of {name}", 1.0),
            await written(f"Texts of {name}, of first parts", reranker.share),
        )
        failed = [*texts.whole, *texts.first].count(None)
        self._failed[f"texts failed{called}"] = failed
        foreign = texts.foreign(parts.settings.seed)
        self._preferred[called.strip() or "the run's model"] = await self._own_preferred(
            texts.first, foreign.first
        )
        found, title = self._ranks, f"Rankings, texts of {name}"
        found[f"told{called}"] = await reranker.by_recommender(texts)
        found[f"told foreign{called}"] = await reranker.by_recommender(foreign)
        found[f"reranked{called}"] = await reranker.by_model(texts, parts.components, title)
        found[f"reranked foreign{called}"] = await reranker.by_model(
            foreign, parts.components, f"Rankings, foreign texts of {name}"
        )
        self._differences += [
            (f"told{called}", self._backbone),
            (f"told{called}", f"told foreign{called}"),
            (f"reranked{called}", "llm"),
            (f"reranked{called}", f"reranked foreign{called}"),
        ]
        if self._hints is not None:
            both = f"hint and text{called}"
            found[both] = await reranker.by_model(
                texts, parts.components, f"Rankings, hints and texts of {name}", self._hints
            )
            self._differences += [(both, "hint"), (both, f"reranked{called}")]
        if called:
            found[f"self-ranked{called}"] = await reranker.by_model(
                texts, writer, f"Rankings by {name}"
            )
            self._differences += [
                (f"told{called}", "told"),
                (f"told foreign{called}", "told foreign"),
                (f"reranked{called}", "reranked"),
                (f"reranked foreign{called}", "reranked foreign"),
                (f"self-ranked{called}", "reranked"),
            ]

    async def _own_preferred(
        self, texts: Sequence[str | None], foreign: Sequence[str | None]
    ) -> list[float]:
        """For each session with both, 1 if its own text is worth more, 0 if less, else 0.5."""
        each = zip(self._reranker.sessions, texts, foreign, strict=True)
        both = [(one, [own, other]) for one, own, other in each if own and other]
        found = await self._reranker.reward_model.score(
            [one for one, _ in both], [pair for _, pair in both]
        )
        return [
            0.5 if own.order == other.order else float(own.order > other.order)
            for own, other in found
        ]

    def report(self) -> TextsReport:
        """All of it; blocks."""
        return texts_report(
            [one.session_id for one in self._reranker.sessions],
            {name: ranks.scores() for name, ranks in self._ranks.items()},
            self._differences,
            self._preferred,
            {"calls made": len(self._parts.journal), **self._failed},
            self._parts.settings.seed,
        )

    @property
    def _parts(self) -> OpenRun:
        return self._reranker.parts
