"""The seams: what a part must do to be plugged in. One Protocol a file."""

from agentrec.contracts.candidate_generator import CandidateGenerator
from agentrec.contracts.hint_arbiter import HintArbiter
from agentrec.contracts.hint_policy import HintPolicy, HintPolicyTrainer
from agentrec.contracts.hint_store import (
    HintHistory,
    HintReader,
    HintSearch,
    HintStore,
    HintWriter,
)
from agentrec.contracts.preference_ranker import PreferenceRanker
from agentrec.contracts.preference_sink import PreferenceSink
from agentrec.contracts.reward_model import RewardModel
from agentrec.contracts.session_encoder import SessionEncoder

__all__ = [
    "CandidateGenerator",
    "HintArbiter",
    "HintHistory",
    "HintPolicy",
    "HintPolicyTrainer",
    "HintReader",
    "HintSearch",
    "HintStore",
    "HintWriter",
    "PreferenceRanker",
    "PreferenceSink",
    "RewardModel",
    "SessionEncoder",
]
