"""The seams: what a part must do to be plugged in. One Protocol a file."""

from agentrec.contracts.candidate_generator import CandidateGenerator
from agentrec.contracts.hint_policy import HintPolicy, HintPolicyTrainer
from agentrec.contracts.hint_store import HintStore
from agentrec.contracts.preference_ranker import PreferenceRanker
from agentrec.contracts.preference_sink import PreferenceSink
from agentrec.contracts.reward_model import RewardModel

__all__ = [
    "CandidateGenerator",
    "HintPolicy",
    "HintPolicyTrainer",
    "HintStore",
    "PreferenceRanker",
    "PreferenceSink",
    "RewardModel",
]
