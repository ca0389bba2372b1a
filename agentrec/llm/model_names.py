"""Any chat model by one string."""

from __future__ import annotations

import re

from langchain_core.language_models import BaseChatModel

from agentrec.errors import InputError

EMBEDDED = "catalog-lm"

_KEY_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9_]*_API_KEY\b")


def open_chat_model(name: str) -> BaseChatModel:
    """Make a chat model from a name such as ``openai:gpt-4o-mini`` or ``catalog-lm:FOLDER``.

    Anything but ``catalog-lm:`` goes to LangChain's ``init_chat_model``; keys and base URLs come
    from the environment variables of the provider (``OPENAI_API_KEY``, ``OPENAI_BASE_URL``...).
    Temperature is 0.

    Raises:
        InputError: If the name, the provider's package or its key is missing or wrong.
    """
    provider, found, model = name.partition(":")
    if not found or not provider or not model:
        raise InputError(f"{name!r} is not PROVIDER:MODEL, such as openai:gpt-4o-mini", field="llm")
    if provider == EMBEDDED:
        from agentrec.llm.catalog_lm.chat_model import CatalogChatModel

        return CatalogChatModel.from_folder(model)
    from langchain.chat_models import init_chat_model

    try:
        chat_model = init_chat_model(model, model_provider=provider, temperature=0.0)
    except ImportError as error:
        raise InputError(
            f"provider {provider!r} needs a package that is not installed: {_line(error)}",
            field="llm",
        ) from error
    except Exception as error:
        # Each client has errors of its own for a key that is missing; all say so in words.
        told = _line(error)
        named = _KEY_VARIABLE.search(told)
        key = f"{provider.upper().replace('-', '_')}_API_KEY" if named is None else named[0]
        wants_key = "api_key" in told.lower() or "api key" in told.lower()
        hint = f"no key for provider {provider!r}: set {key} in the environment"
        raise InputError(hint if wants_key else f"{name!r}: {told}", field="llm") from error
    if not isinstance(chat_model, BaseChatModel):
        raise InputError(f"{name!r} names no chat model", field="llm")
    return chat_model


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
