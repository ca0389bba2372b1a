"""A small knowledge base with all that can be in one, and the command line to look at it."""

from __future__ import annotations

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.hints import Hint, HintEvidence, HintProvenance
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.hints.opening import open_hint_store

OLD = Hint(
    text="Prefer [bold]old[/bold] films; [link=file:///etc]here[/link]",
    evidence=HintEvidence.of({"u1": 0.5, "u2": 0.1, "u3": 0.0, "u4": -0.1}, model="lm"),
    provenance=HintProvenance(
        session_id="u9\x1b[31m",
        model="lm",
        prompt_hash="p",
        run="[red]demo",
        diagnosis="It looked\nat genres.",
        ndcg_before=0,
        ndcg_after=0.43,
    ),
)
PAST = Hint(text="Prefer films of the past.", state="nominated")
COMEDY = Hint(text="Prefer comedies.")


async def fill(folder: Path, namespace: str, model: str) -> None:
    embeddings = HashedWordEmbeddings(256)
    hints = [hint.model_copy(update={"namespace": namespace}) for hint in (OLD, PAST, COMEDY)]
    vectors = await embeddings.aembed_documents([hint.text for hint in hints])
    opening = open_hint_store(folder, 256, namespace=namespace, embedding_model=model)
    async with await opening as store:
        await store.add_many(hints, vectors, "learnt")


def kb(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["kb", *map(str, arguments)])
