"""What tuning needs beside the library, brought in when it is needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from agentrec.errors import InputError


def needed(name: str) -> ModuleType:
    """Import a package of the extra ``dpo``.

    Args:
        name: ``trl``, ``peft``, ``datasets``, ``accelerate`` or ``huggingface_hub``.

    Raises:
        InputError: If it, or something it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        told = " ".join(str(error).split())[:200]
        raise InputError(f"needs the extra: pip install 'agentrec[dpo]' ({told})") from error
