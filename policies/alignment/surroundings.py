"""Keeping the training libraries from reaching out of the training."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from warnings import catch_warnings, filterwarnings

import numpy as np
import torch

from agentrec.llm.providers.quiet_transformers import no_progress_bars
from agentrec.policies.alignment.extra import needed

_TALKATIVE = ("trl", "peft", "accelerate", "datasets")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give back everything of the process that training would leave changed.

    Random states, environment variables, levels of logging, warnings and progress bars are
    afterwards what they were. Within, nothing reaches for a hub or reports home: TRL would, at
    every start.

    Raises:
        InputError: If the extra is not installed.
    """
    with ExitStack() as kept:
        kept.enter_context(_random_states())
        kept.enter_context(_environment())
        kept.enter_context(_quiet())
        kept.enter_context(_no_hub())
        kept.enter_context(no_progress_bars())
        yield


@contextmanager
def _random_states() -> Iterator[None]:
    plain, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numpys)


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        os.environ["TQDM_DISABLE"] = "1"
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging as theirs

    utils = needed("datasets.utils")
    bars = utils.are_progress_bars_disabled()
    verbosity = theirs.get_verbosity()
    loggers = {name: logging.getLogger(name) for name in _TALKATIVE}
    levels = {name: logger.level for name, logger in loggers.items()}
    utils.disable_progress_bars()
    theirs.set_verbosity_error()  # type: ignore[no-untyped-call]
    for logger in loggers.values():
        logger.setLevel(logging.ERROR)
    try:
        with catch_warnings():
            # What the libraries advise one another to call by a new name.
            for category in (FutureWarning, DeprecationWarning):
                filterwarnings("ignore", category=category)
            yield
    finally:
        for name, level in levels.items():
            loggers[name].setLevel(level)
        theirs.set_verbosity(verbosity)
        if not bars:
            utils.enable_progress_bars()


@contextmanager
def _no_hub() -> Iterator[None]:
    # The variables of the environment are read when the package is imported, which was earlier.
    constants = needed("huggingface_hub").constants
    names = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
    before = {name: getattr(constants, name) for name in names}
    try:
        for name in names:
            setattr(constants, name, True)
        yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)
