"""Open any chat model from one string and its parameters."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

from langchain_core.language_models import BaseChatModel

from agentrec.errors import InputError
from agentrec.llm.secrets import is_secret_name, masked, without_secrets

EMBEDDED = "catalog-lm"
# Added to the gateway's time limit, so that the gateway's error is the one people see.
_TIMEOUT_MARGIN = 30.0
_DEFAULT_TIMEOUT = 120.0
# The caller's own client or proxy; with one of them no client is added.
_CLIENT_PARAMETERS = ("http_client", "http_async_client", "openai_proxy")
# With one of them LangChain uses OpenAI's Responses API.
_RESPONSES_PARAMETERS = frozenset(
    {"context_management", "include", "output_version", "reasoning", "truncation"}
    | {"use_previous_response_id"}
)

_KEY_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9_]*_API_KEY\b")
# These do not change what is answered, only where and how patiently the model is asked.
_NOT_IN_IDENTITY = frozenset(
    {"base_url", "timeout", "request_timeout", "default_request_timeout", "max_retries"}
)

# Clients made here; nobody else closes them.
_clients: WeakSet[Any] = WeakSet()


def open_chat_model(
    name: str,
    parameters: Mapping[str, object] | None = None,
    *,
    timeout: float | None = _DEFAULT_TIMEOUT,
) -> BaseChatModel:
    """Open a chat model by a name such as ``openai:gpt-4o-mini`` or ``catalog-lm:FOLDER``.

    Every provider but ``catalog-lm:`` goes through LangChain's ``init_chat_model``. Keys and base
    URLs come from the provider's environment variables (``OPENAI_API_KEY``,
    ``OPENAI_BASE_URL``...) unless they are parameters. Where the provider's class has these
    parameters, its own retries are switched off (the gateway retries, within limits and counts)
    and a time limit is set.

    Args:
        name: The provider and its model.
        parameters: Parameters of the provider's class: ``temperature`` (default 0), ``base_url``,
            ``max_tokens``... With the value ``None`` a parameter is left to the provider; some
            models require that for ``temperature``.
        timeout: Seconds the caller waits for an answer, above 0; the client's own time limit is
            set 30 seconds longer. ``None`` leaves it to the client.

    Raises:
        InputError: If the name, a parameter, the provider's package or its key is missing or wrong.
    """
    provider, colon, model = name.partition(":")
    if not colon or not provider or not model:
        raise InputError(f"{name!r} is not PROVIDER:MODEL, such as openai:gpt-4o-mini", field="llm")
    given = {} if parameters is None else dict(parameters)
    if provider == EMBEDDED:
        if given:
            raise InputError(f"the embedded model takes no parameters: {', '.join(given)}")
        from agentrec.embedded_model.chat_model import CatalogChatModel

        return CatalogChatModel.from_folder(model)
    wanted = {key: value for key, value in given.items() if value is not None}
    # The first instance only shows which parameters the provider's class has.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        first = _init_model(name, provider, model, wanted)
    known = _parameter_names(first)
    unknown = sorted(set(wanted) - known)
    if unknown:
        # Clients pass unknown parameters to the endpoint, which complains too late or never.
        raise InputError(f"{provider!r} has no parameter {', '.join(unknown)}", field="parameters")
    defaults: dict[str, object] = {"temperature": 0.0, "max_retries": 0}
    if timeout is not None:
        defaults["timeout"] = timeout + _TIMEOUT_MARGIN
    if provider == "openai" and not any(key in given for key in _CLIENT_PARAMETERS):
        from agentrec.llm.spread_connections import spread_client

        # LangChain shares one client between all models of an address, also between event loops,
        # and never closes it. ``close_client`` closes this one.
        client = spread_client()
        _clients.add(client)
        defaults["http_async_client"] = client
    if provider == "openai" and not _is_openai(first) and not given.keys() & _RESPONSES_PARAMETERS:
        # Other servers rarely have OpenAI's Responses API, and calls without it can be cheaper.
        defaults["use_responses_api"] = False
    added = {key: value for key, value in defaults.items() if key in known and key not in given}
    return _init_model(name, provider, model, {**added, **wanted})


async def close_client(model: BaseChatModel) -> None:
    """Close the connections of a model from ``open_chat_model``, which cannot be used afterwards.

    Args:
        model: The model; nothing is done to a model with a client that the caller made.
    """
    client = getattr(model, "http_async_client", None)
    if client is not None and client in _clients:
        await client.aclose()


def model_identity(
    name: str, model: BaseChatModel, parameters: Mapping[str, object] | None = None
) -> str:
    """Return the name under which a model's answers are stored: all that decides its answers.

    It includes a short hash of the endpoint's address, because the same model name behind another
    address is another model, and the parameters that can change an answer. It never includes keys.

    Args:
        name: The name given to ``open_chat_model``.
        model: The model it returned.
        parameters: The parameters given to it.
    """
    address = _address(model) or str((parameters or {}).get("base_url", ""))
    suffix = f"@{hashlib.sha256(address.encode()).hexdigest()[:8]}" if address else ""
    given = (parameters or {}).items()
    decisive = without_secrets({key: value for key, value in given if key not in _NOT_IN_IDENTITY})
    if not decisive:
        return f"{name}{suffix}"
    shown = json.dumps(decisive, default=_short_hash, separators=(",", ":"), sort_keys=True)
    return f"{name}{suffix} {shown}"


def _address(model: BaseChatModel) -> str:
    # The underlying client knows the address from a parameter and from every environment
    # variable; the model's own field shows only some of them.
    return str(getattr(getattr(model, "root_client", None), "base_url", ""))


def _is_openai(model: BaseChatModel) -> bool:
    return urlsplit(_address(model)).hostname == "api.openai.com"


def _short_hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def _parameter_names(model: BaseChatModel) -> set[str]:
    fields = type(model).model_fields
    return {*fields, *(info.alias for info in fields.values() if info.alias is not None)}


def _init_model(
    name: str, provider: str, model: str, parameters: Mapping[str, object]
) -> BaseChatModel:
    from langchain.chat_models import init_chat_model

    secrets = [str(value) for key, value in parameters.items() if is_secret_name(key)]
    try:
        options: dict[str, Any] = dict(parameters)
        chat_model = init_chat_model(model, model_provider=provider, **options)
    except ImportError as error:
        raise InputError(
            f"provider {provider!r} needs a package that is not installed: {masked(str(error))}",
            field="llm",
        ) from error
    except Exception as error:
        problem = _input_error(name, provider, error, secrets)
    else:
        if isinstance(chat_model, BaseChatModel):
            return chat_model
        problem = InputError(f"{name!r} is not a chat model", field="llm")
    # Raised here, without a cause: the client's own error may contain the key.
    raise problem


def _input_error(name: str, provider: str, error: Exception, secrets: list[str]) -> InputError:
    # Each client has its own error class for a missing key; all of them name it in the text.
    message = masked(str(error), secrets)
    if "api_key" in message.lower() or "api key" in message.lower():
        named = _KEY_VARIABLE.search(str(error))
        variable = f"{provider.upper().replace('-', '_')}_API_KEY" if named is None else named[0]
        message = f"no key for provider {provider!r}: set {variable} in the environment"
        return InputError(message, field="llm")
    return InputError(f"{name!r}: {message}", field="llm")
