"""The front door: put components together and recommend."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from agentrec.assembly import Ingredients, assemble, use_one_thread
from agentrec.catalog import Catalog, Item
from agentrec.components import Components
from agentrec.contracts import HintPolicy, HintStore
from agentrec.contracts.candidate_generator import CandidateGenerator
from agentrec.data.dataset_folder import load_catalog
from agentrec.data.session_rows import read_sessions
from agentrec.errors import InputError
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.graphs.recommendation.recommend_many import (
    SessionResult,
    recommend_many,
    session_span,
)
from agentrec.llm.prompts.templates import Prompts
from agentrec.named_components import (
    IN_MEMORY,
    NamedEmbeddings,
    NamedModel,
    name_embeddings,
    name_model,
    open_candidates,
    open_embeddings,
    open_model,
    open_policy,
)
from agentrec.policies.policy_files import EncoderRecord, read_policy
from agentrec.progress import ProgressDisplay
from agentrec.rankings import Ranking
from agentrec.runs.manifest import settings_in_manifest
from agentrec.runs.open_run import open_run, resolve_run
from agentrec.runs.run_folder import RunFolder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.sources import SettingsSources

EMBEDDED_NAME = "embedded"


class Recommender:
    """Recommends for one session, for many, or for hundreds of callers at a time.

    Open one with ``open_recommender`` and share it. All callers wait in one line where limits on
    the model make them, and callers that ask the same share one call.

    Args:
        components: The components of the graph.
        concurrency: How many sessions of a stream are worked on at a time, at least 1.
        candidates: Finds candidates for sessions without; ``None`` refuses such sessions.
    """

    def __init__(
        self,
        components: Components,
        *,
        concurrency: int = 64,
        candidates: CandidateGenerator | None = None,
    ) -> None:
        self.components = components
        """The components, to use as the context of a graph of your own."""
        self._concurrency = concurrency
        self._candidates = candidates
        self._graph = build_recommendation_graph()

    async def recommend(self, session: Session, *, time_limit: float | None = None) -> Ranking:
        """Rank the candidates of a session.

        A caller that gives up, or is cancelled, costs nobody else anything: an answer that was on
        its way is kept for whoever asks the same again.

        Args:
            session: Its items and candidates are in the catalogue.
            time_limit: Seconds after which to give up, above 0; ``None`` for never.

        Raises:
            InputError: If the session has no candidates, and nothing finds any.
            ModelCallError: If the model's call failed for good, or the budget is spent.
            TimeoutError: If it took too long.
            KeyError: If an item is not in the catalogue.
        """
        async with asyncio.timeout(time_limit):
            with session_span():
                ready = await self._with_candidates(session)
                state: Mapping[str, Any] = await self._graph.ainvoke(
                    {"session": ready}, context=self.components
                )
        ranking: Ranking = state["ranking"]
        return ranking

    async def stream(
        self,
        sessions: Iterable[Session] | AsyncIterable[Session],
        *,
        ordered: bool = False,
        time_limit: float | None = None,
    ) -> AsyncGenerator[SessionResult, None]:
        """Rank the candidates of any number of sessions; one that fails costs no other.

        Memory is bounded, and no session is taken up while nobody takes results. Whoever may stop
        early closes it: ``async with contextlib.aclosing(recommender.stream(sessions))``.

        Args:
            sessions: The sessions; may be endless.
            ordered: Whether results come in the order of the sessions, not as they finish.
            time_limit: Seconds after which a session is given up, above 0; ``None`` for never.

        Yields:
            A result for each session: its ``ranking``, or its ``failure``.
        """
        results = recommend_many(
            self._ready(sessions),
            self.components,
            graph=self._graph,
            concurrency=self._concurrency,
            ordered=ordered,
            time_limit=time_limit,
        )
        try:
            async for result in results:
                yield result
        finally:
            await results.aclose()

    async def recommend_many(self, sessions: Iterable[Session]) -> list[Ranking]:
        """Rank the candidates of many sessions.

        Args:
            sessions: The sessions.

        Returns:
            A ranking for each session, in order.

        Raises:
            Exception: What the first session that failed was refused for; see ``recommend``. Use
                ``stream`` to go on after a failure.
        """
        return [result.ranking async for result in self.stream(sessions, ordered=True)]

    async def _ready(
        self, sessions: Iterable[Session] | AsyncIterable[Session]
    ) -> AsyncIterator[Session]:
        if isinstance(sessions, AsyncIterable):
            async for session in sessions:
                yield await self._with_candidates(session)
        else:
            for session in sessions:
                yield await self._with_candidates(session)

    async def _with_candidates(self, session: Session) -> Session:
        if session.candidates:
            return session
        if self._candidates is None:
            raise InputError(
                f"session {session.session_id!r} has no candidates; add some, or open the"
                " recommender with candidates=",
                field="candidates",
            )
        count = self.components.max_candidates
        (found,) = await asyncio.to_thread(self._candidates.generate_many, [session], count)
        return session.model_copy(update={"candidates": found})


@asynccontextmanager
async def open_recommender(
    *,
    run: Path | str | None = None,
    catalog: Path | str | Catalog | Iterable[Item] | None = None,
    llm: str | BaseChatModel | None = None,
    embeddings: str | Embeddings | None = None,
    hints: Path | str | HintStore | None = None,
    policy: Path | str | HintPolicy | None = None,
    candidates: Path | str | CandidateGenerator | None = None,
    list_length: int | None = None,
    concurrency: int | None = None,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    journal: Path | str | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressDisplay | None = None,
) -> AsyncIterator[Recommender]:
    """Open a recommender, for as long as the block lasts.

    Either from what a run learnt, or from components of your choice::

        async with open_recommender(run="runs/demo") as recommender:
            ranking = await recommender.recommend(session)

        async with open_recommender(
            catalog="shop/items.jsonl",
            llm="openai:gpt-4o-mini",
            hints="http://localhost:6333",
        ) as recommender:
            ...

    Args:
        run: Folder of a run; its catalogue, model, embeddings, hints and live policy are used
            unless others are given here.
        catalog: The items: an ``items.jsonl``, a folder that holds one, or ``Item`` objects. The
            training sessions of a data folder say how popular items are, as trained policies may
            need.
        llm: A chat model: ``PROVIDER:MODEL``, ``embedded`` for the small model that is taught
            from the catalogue, the folder of such a model, or any LangChain chat model. Default:
            ``embedded``.
        embeddings: Text embeddings: ``minilm``, ``hashed``, ``PROVIDER:MODEL``, or any LangChain
            ``Embeddings``. Default: ``minilm``.
        hints: A folder, the URL of a Qdrant server, ``:memory:`` or a ``HintStore``. Default:
            ``:memory:``, which is empty.
        policy: Which hint a session gets: the folder of a trained policy, the name of a kind that
            needs no training, or a ``HintPolicy``. Default: ``nearest``.
        candidates: Finds candidates for sessions without: a folder of a sequential recommender,
            such as ``runs/demo/backbone``, or a ``CandidateGenerator``.
        list_length: How many items a ranking has, at least 1. Default: 10.
        concurrency: Most model calls at a time, at least 1. Default: 64.
        requests_per_minute: Most model calls in any minute, above 0.
        tokens_per_minute: Most tokens, read and written, in any minute, above 0.
        journal: File that keeps every answer, so that none is paid twice. Default: the run's;
            without a run answers are kept in memory.
        settings: Any other setting, nested as in a settings file, such as
            ``{"llm": {"timeout": 30}, "budget": {"tokens": 1_000_000}}``.
        progress: Where progress is shown while it opens. Default: nowhere.

    Raises:
        InputError: If an argument, a setting or a file cannot be used.
        StoreError: If the hint store cannot be opened.
    """
    limits = {
        "max_concurrency": concurrency,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
    }
    given = dict(settings or {})
    chosen = {name: value for name, value in limits.items() if value is not None}
    given["limits"] = {**given.get("limits", {}), **chosen}
    if run is not None:
        if catalog is not None or embeddings is not None:
            raise InputError("a run has its own; leave it out", field="catalog, embeddings")
        opening = _opened_run(Path(run), given, llm, hints, policy, journal, progress)
    else:
        if catalog is None:
            raise InputError("is missing: give catalog= or run=", field="catalog")
        opening = _assembled(
            catalog, given, llm, embeddings, hints, policy, journal, progress or ProgressDisplay()
        )
    async with opening as (components, resolved):
        if list_length is not None:
            components = replace(components, list_length=list_length)
        generator: CandidateGenerator | None
        if isinstance(candidates, str | Path):
            generator = await asyncio.to_thread(open_candidates, candidates, components.catalog)
        else:
            generator = candidates
        calls = resolved.limits.max_concurrency
        # More sessions than calls: when a call ends, a session is ready for the next one.
        yield Recommender(components, concurrency=calls + (calls + 1) // 2, candidates=generator)


@asynccontextmanager
async def _opened_run(
    run: Path,
    given: Mapping[str, Any],
    llm: str | BaseChatModel | None,
    hints: Path | str | HintStore | None,
    policy: Path | str | HintPolicy | None,
    journal: Path | str | None,
    progress: ProgressDisplay | None,
) -> AsyncIterator[tuple[Components, RunSettings]]:
    below = await asyncio.to_thread(settings_in_manifest, RunFolder(run))
    settings = _validated({**given, "run": run}, below)
    resolved = await resolve_run(settings, progress)
    await resolved.begin()
    async with open_run(
        resolved,
        progress,
        model=None if llm is None else await _model(llm, settings),
        policy=await resolved.live_policy() if policy is None else await _policy(policy),
        hints=hints,
        calls=None if journal is None else Path(journal),
    ) as opened:
        yield opened.components, settings


@asynccontextmanager
async def _assembled(
    catalog: Path | str | Catalog | Iterable[Item],
    given: Mapping[str, Any],
    llm: str | BaseChatModel | None,
    embeddings: str | Embeddings | None,
    hints: Path | str | HintStore | None,
    policy: Path | str | HintPolicy | None,
    journal: Path | str | None,
    progress: ProgressDisplay,
) -> AsyncIterator[tuple[Components, RunSettings]]:
    # A trained policy says which session encoder it needs.
    encoder = await asyncio.to_thread(_encoder_of, policy)
    settings = _validated(given, {} if encoder is None else {"state_blocks": encoder.blocks})
    if isinstance(embeddings, Embeddings):
        named = name_embeddings(embeddings)
    else:
        recorded = settings.embeddings if encoder is None else encoder.embeddings
        name = embeddings or given.get("embeddings") or recorded
        named = NamedEmbeddings(await asyncio.to_thread(open_embeddings, name), name)
    items, train = await asyncio.to_thread(_items_and_sessions, catalog)
    ingredients = Ingredients(
        settings=settings,
        catalog=items,
        model=await _model(llm or settings.llm.name or EMBEDDED_NAME, settings),
        embeddings=named,
        prompts=await asyncio.to_thread(Prompts.load, settings.prompts),
        hints=hints or settings.hints or IN_MEMORY,
        policy=await _policy(policy or "nearest"),
        train=train,
        journal=None if journal is None else Path(journal),
        display=progress,
    )
    async with assemble(ingredients) as assembly:
        width = assembly.components.encoder.states([]).shape[1]
        if encoder is not None and encoder.state_dim != width:
            raise InputError(
                f"needs session states of width {encoder.state_dim}, but this catalogue gives"
                f" {width}: use the items and training sessions that the policy was trained with",
                field="policy",
            )
        yield assembly.components, settings


def _validated(given: Mapping[str, Any], below: Mapping[str, Any]) -> RunSettings:
    """Return settings made of what was given in the place of what is below; nothing else counts."""
    return SettingsSources(given, environment=False).settings(below=below)


def _encoder_of(policy: Path | str | HintPolicy | None) -> EncoderRecord | None:
    if isinstance(policy, str | Path) and Path(policy).is_dir():
        return read_policy(Path(policy)).encoder
    return None


def _items_and_sessions(
    catalog: Path | str | Catalog | Iterable[Item],
) -> tuple[Catalog, Sequence[Session]]:
    """Return the items, and the training sessions beside them, which say how popular items are."""
    items = load_catalog(catalog)
    if isinstance(catalog, str | Path):
        file = Path(catalog) / "sessions.train.jsonl"
        if file.is_file():
            return items, list(read_sessions(file, items))
    return items, ()


async def _model(llm: str | BaseChatModel, settings: RunSettings) -> NamedModel | None:
    if isinstance(llm, BaseChatModel):
        return await asyncio.to_thread(name_model, llm)
    if llm == EMBEDDED_NAME:
        use_one_thread()
        return None
    return await asyncio.to_thread(open_model, llm, settings.llm.given, settings.llm.timeout)


async def _policy(policy: Path | str | HintPolicy) -> HintPolicy:
    if isinstance(policy, str | Path):
        return await asyncio.to_thread(open_policy, policy)
    return policy
