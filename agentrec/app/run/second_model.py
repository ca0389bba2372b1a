"""A second chat model beside the run's, such as a tuned one, behind the same journal and budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from langchain_core.language_models import BaseChatModel

from agentrec.app.run.open_run import PATIENCE, RunParts
from agentrec.app.run.parts import opened_model
from agentrec.app.settings.model_settings import LlmSettings
from agentrec.components import Components
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.limits.limits import CallLimiter
from agentrec.llm.providers.chat_models import drop_connections


def second_model(name: str, llm: LlmSettings) -> tuple[BaseChatModel, str]:
    """Open a chat model that is named, and say under which name its answers are kept.

    Args:
        name: As ``PROVIDER:MODEL``.
        llm: How patiently the run's models are asked.

    Raises:
        InputError: If the model cannot be opened.
    """
    return opened_model(name, {}, llm.timeout)


@asynccontextmanager
async def with_model(
    parts: RunParts, model: BaseChatModel, identity: str
) -> AsyncIterator[Components]:
    """The parts of a run's graphs with another model; its answers are kept before this ends.

    Args:
        parts: The run.
        model: The other model.
        identity: The name under which its answers are kept.

    Raises:
        InputError: If the budget is of money, and the model has no price.
    """
    settings = parts.settings
    if parts.account is not None:
        parts.account.check(identity)
    gateway = ModelGateway(
        model,
        identity,
        parts.journal,
        limiter=CallLimiter(settings.limits.limits()),
        retries=settings.retries.policy(settings.llm.timeout),
        account=parts.account,
        prices=settings.prices.table(),
        structured=settings.llm.structured,
    )
    patience = None
    try:
        yield replace(parts.components, model=gateway)
    except (asyncio.CancelledError, KeyboardInterrupt):
        patience = PATIENCE
        raise
    finally:
        await gateway.aclose(patience)
        await drop_connections(model)
