"""The seams: what a part must do to be plugged in. One Protocol a file."""

from agentrec.contracts.hint_policy import HintPolicy, HintPolicyTrainer
from agentrec.contracts.hint_store import HintStore

__all__ = ["HintPolicy", "HintPolicyTrainer", "HintStore"]
