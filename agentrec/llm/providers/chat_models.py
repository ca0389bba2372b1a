"""Any chat model by one string and its parameters."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from agentrec.errors import InputError
from agentrec.llm.gateway.call_errors import masked
from agentrec.llm.providers.secrets import is_secret_name, without_secrets

EMBEDDED = "catalog-lm"
# Beyond the gateway's own time limit, so that the gateway's is the one that is told of.
_MARGIN = 30.0
_PATIENCE = 120.0
# Whose clients a caller brings along; with one of them nothing is added.
_CLIENTS = ("http_client", "http_async_client", "openai_proxy")

_KEY_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9_]*_API_KEY\b")
# Say where and as whom to ask, or how patiently, but not what will be answered.
_UNDECISIVE = frozenset(
    {"base_url", "timeout", "request_timeout", "default_request_timeout", "max_retries"}
)


def open_chat_model(
    name: str,
    parameters: Mapping[str, object] | None = None,
    *,
    patience: float | None = _PATIENCE,
) -> BaseChatModel:
    """Make a chat model from a name such as ``openai:gpt-4o-mini`` or ``catalog-lm:FOLDER``.

    Anything but ``catalog-lm:`` goes to LangChain's ``init_chat_model``; keys and base URLs come
    from the environment variables of the provider (``OPENAI_API_KEY``, ``OPENAI_BASE_URL``...)
    unless they are parameters. Where the provider's class knows them, retries of its own are
    switched off (a gateway makes them, where limits and counts see them) and a time limit is set.
    OpenAI's client spreads its connections, see ``spread_client``, and does less for each call, see
    ``send_directly``.

    Args:
        name: The provider and its model.
        parameters: What the provider's class takes: ``temperature`` (0 if not given), ``base_url``,
            ``max_tokens``... ``None`` as a value leaves a parameter to the provider, which some
            models want for ``temperature``.
        patience: For how many seconds the caller waits for an answer, above 0; the client's own
            time limit is set a little longer. ``None`` to leave it to the client.

    Raises:
        InputError: If the name, a parameter, the provider's package or its key is missing or wrong.
    """
    provider, found, model = name.partition(":")
    if not found or not provider or not model:
        raise InputError(f"{name!r} is not PROVIDER:MODEL, such as openai:gpt-4o-mini", field="llm")
    given = {} if parameters is None else dict(parameters)
    if provider == EMBEDDED:
        if given:
            raise InputError(f"the embedded model takes no parameters: {', '.join(given)}")
        from agentrec.embedded_model.chat_model import CatalogChatModel

        return CatalogChatModel.from_folder(model)
    kept = {each: value for each, value in given.items() if value is not None}
    # Once to learn which parameters the provider's class has, which only the object tells.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        known = _parameter_names(_made(name, provider, model, kept))
    unknown = sorted(set(kept) - known)
    if unknown:
        # Clients pass what they do not know on to the endpoint, which tells too late or never.
        raise InputError(f"{provider!r} has no parameter {', '.join(unknown)}", field="parameters")
    defaults: dict[str, object] = {"temperature": 0.0, "max_retries": 0}
    if patience is not None:
        defaults["timeout"] = patience + _MARGIN
    if provider == "openai" and not any(each in given for each in _CLIENTS):
        defaults |= _spread_connections()
    added = {each: defaults[each] for each in defaults if each in known and each not in given}
    made = _made(name, provider, model, {**added, **kept})
    if provider == "openai":
        _send_directly(made)
    return made


async def drop_connections(model: BaseChatModel) -> None:
    """Close the connections that an opened model keeps for its next call, which opens new ones.

    Args:
        model: What ``open_chat_model`` returned; nothing is done where its client is its own.
    """
    client = getattr(model, "http_async_client", None)
    if (drop := getattr(client, "drop_connections", None)) is not None:
        await drop()


def model_identity(
    name: str, model: BaseChatModel, parameters: Mapping[str, object] | None = None
) -> str:
    """The name under which a model's answers are kept: all that decides what it answers.

    It holds a short hash of the endpoint's address where the client has one, since the same model
    name means another model behind another address, and the parameters that are not about where
    and as whom to ask. Keys are never in it.

    Args:
        name: What ``open_chat_model`` was given.
        model: What it returned.
        parameters: What it was given beside the name.
    """
    # The client underneath knows the address whether it came from a parameter or from one of the
    # environment variables, of which the model's own field shows only some.
    address = str(getattr(getattr(model, "root_client", None), "base_url", ""))
    address = address or str((parameters or {}).get("base_url", ""))
    suffix = f"@{hashlib.sha256(address.encode()).hexdigest()[:8]}" if address else ""
    told = {each: value for each, value in (parameters or {}).items() if each not in _UNDECISIVE}
    decisive = without_secrets(told)
    if not decisive:
        return f"{name}{suffix}"
    shown = json.dumps(decisive, default=_shown, separators=(",", ":"), sort_keys=True)
    return f"{name}{suffix} {shown}"


def _spread_connections() -> dict[str, object]:
    try:
        from agentrec.llm.providers.spread_connections import spread_client
    except ImportError:
        return {}
    client = spread_client()
    return {} if client is None else {"http_async_client": client}


def _send_directly(model: BaseChatModel) -> None:
    try:
        from langchain_openai import ChatOpenAI

        from agentrec.llm.providers.direct_completions import send_directly
    except ImportError:
        return
    if isinstance(model, ChatOpenAI):
        send_directly(model)


def _shown(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def _parameter_names(model: BaseChatModel) -> set[str]:
    names: set[str] = set()
    for field, info in type(model).model_fields.items():
        names.add(field)
        if info.alias is not None:
            names.add(info.alias)
    return names


def _made(name: str, provider: str, model: str, parameters: Mapping[str, object]) -> BaseChatModel:
    from langchain.chat_models import init_chat_model

    secrets = [str(value) for each, value in parameters.items() if is_secret_name(each)]
    try:
        options: dict[str, Any] = dict(parameters)
        chat_model = init_chat_model(model, model_provider=provider, **options)
    except ImportError as error:
        raise InputError(
            f"provider {provider!r} needs a package that is not installed: {masked(str(error))}",
            field="llm",
        ) from error
    except Exception as error:
        problem = _unopened(name, provider, error, secrets)
    else:
        if isinstance(chat_model, BaseChatModel):
            return chat_model
        problem = InputError(f"{name!r} names no chat model", field="llm")
    # Raised here and without a cause: the client's own error may repeat the key it was given.
    raise problem


def _unopened(name: str, provider: str, error: Exception, secrets: list[str]) -> InputError:
    # Each client has errors of its own for a key that is missing; all say so in words.
    told = masked(str(error), secrets)
    named = _KEY_VARIABLE.search(str(error))
    key = f"{provider.upper().replace('-', '_')}_API_KEY" if named is None else named[0]
    wants_key = "api_key" in told.lower() or "api key" in told.lower()
    hint = f"no key for provider {provider!r}: set {key} in the environment"
    return InputError(hint if wants_key else f"{name!r}: {told}", field="llm")
