"""A recommender that stays open: what a run learnt, warm, for very many callers at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from agentrec.app.run.reopen_run import settings_of_run
from agentrec.assembly import use_one_thread
from agentrec.components import Components
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.graphs.recommendation.recommend_many import session_span
from agentrec.policies.policy_kinds import load_policy
from agentrec.rankings import Ranking
from agentrec.runs.open_run import OpenRun, ResolvedRun, open_run, resolve_run
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings


class RecommenderService:
    """Recommends as a run learnt to: its knowledge base, its live policy, its model.

    Made once and used by everybody: hundreds of callers may ask at the same time, and wait in one
    line where the limits of the run's settings make them::

        async with open_service(Path("runs/demo")) as service:
            ranking = await service.arecommend(session)

    Args:
        parts: The open run, its components with the policy that is used.
    """

    def __init__(self, parts: OpenRun) -> None:
        self._parts = parts
        self._graph = build_recommendation_graph()

    @property
    def components(self) -> Components:
        """The parts of the graph, for graphs of one's own."""
        return self._parts.components

    async def arecommend(self, session: Session, *, time_limit: float | None = None) -> Ranking:
        """Rank the candidates of a session.

        A caller that gives up, or is cancelled, costs nobody else anything: an answer that was on
        its way is kept for who asks the same again.

        Args:
            session: With candidates; its items and candidates are of the run's catalogue.
            time_limit: After how many seconds, above 0, to give up; ``None`` for never.

        Raises:
            ModelCallError: If the model's call failed for good, or the budget is spent.
            TimeoutError: If it took too long.
            KeyError: If an item is not in the catalogue.
        """
        async with asyncio.timeout(time_limit):
            with session_span():
                state: Mapping[str, Any] = await self._graph.ainvoke(
                    {"session": session}, context=self.components
                )
        ranking: Ranking = state["ranking"]
        return ranking


@asynccontextmanager
async def open_service(
    run: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    calls: Path | None = None,
    console: Console | None = None,
) -> AsyncIterator[RecommenderService]:
    """Open what a run learnt, for as long as it is used.

    Args:
        run: The run's folder.
        settings: What is to be otherwise than in the run, nested like its settings:
            ``{"limits": {"max_concurrency": 256}}``.
        calls: Another call journal than the run's.
        console: Where to show progress while it opens; nowhere by default.

    Raises:
        InputError: If there is no run, or a setting or a file cannot be used.
        StoreError: If another process has the knowledge base open.
    """
    found, _ = settings_of_run({**(settings or {}), "run": run})
    shown = console or Console(quiet=True)
    async with serving_parts(await find_serving(found, shown), shown, calls=calls) as parts:
        yield RecommenderService(parts)


async def find_serving(settings: RunSettings, console: Console) -> ResolvedRun:
    """Find a run that is to be used, and see that it is what its settings say.

    Args:
        settings: Those of ``settings_of_run``.
        console: Where notes are shown.

    Raises:
        InputError: If settings or data are not those of the run, or a file cannot be used.
    """
    use_one_thread()
    place = await resolve_run(settings, console)
    await asyncio.to_thread(place.folder.begin, place.manifest)
    return place


@asynccontextmanager
async def serving_parts(
    place: ResolvedRun,
    console: Console,
    *,
    calls: Path | None = None,
    usage: Path | None = None,
    knowledge_base: Path | None = None,
) -> AsyncIterator[OpenRun]:
    """Open a run with the policy that is live in it; without one no hint is given.

    Args:
        place: Of ``find_serving``.
        console: Where progress is shown.
        calls: Another call journal than the run's.
        usage: Where to write what calls came to, if not into the run.
        knowledge_base: Another folder of hints than the run's: a copy of it.

    Raises:
        InputError: If a file cannot be used.
        StoreError: If another process has the knowledge base open.
    """
    live = place.folder.live
    policy = await asyncio.to_thread(lambda: load_policy(live) if live.is_dir() else None)
    async with open_run(
        place, console, report_usage=False, calls=calls, usage=usage, knowledge_base=knowledge_base
    ) as parts:
        if policy is not None:
            parts = replace(parts, components=replace(parts.components, hint_policy=policy))
        yield parts
