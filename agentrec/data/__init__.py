"""Data sets, the neutral file format, MovieLens-100K, and sessions out of files of any size."""

from agentrec.data.dataset import (
    Dataset,
    Interaction,
    TimedSession,
    TimeSplit,
    build_sessions,
    split_by_time,
)
from agentrec.data.dataset_folder import load_catalog, load_folder, read_folder, write_folder
from agentrec.data.movielens import load_movielens
from agentrec.data.negatives import Negatives, item_counts, with_candidates
from agentrec.data.session_records import RowLimits
from agentrec.data.session_rows import (
    RejectedRow,
    SessionRow,
    read_session_rows,
    read_sessions,
    stream_session_rows,
)

__all__ = [
    "Dataset",
    "Interaction",
    "Negatives",
    "RejectedRow",
    "RowLimits",
    "SessionRow",
    "TimeSplit",
    "TimedSession",
    "build_sessions",
    "item_counts",
    "load_catalog",
    "load_folder",
    "load_movielens",
    "read_folder",
    "read_session_rows",
    "read_sessions",
    "split_by_time",
    "stream_session_rows",
    "with_candidates",
    "write_folder",
]
