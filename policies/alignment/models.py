"""Opening what is to be tuned or evaluated: the embedded model, or any causal language model."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from warnings import catch_warnings, filterwarnings

from torch import Tensor, nn
from torch.nn import functional

from agentrec.embedded_model.folder import CatalogModel, load_model
from agentrec.errors import InputError
from agentrec.llm.quiet_transformers import no_progress_bars
from agentrec.policies.alignment.pair_encoding import (
    ChatPairTokenizer,
    EmbeddedPairTokenizer,
    PairTokenizer,
)

HUB = "hub:"
_ADAPTER = "adapter_config.json"
_CATALOG_MODEL = "catalog_lm.json"
_HASHED = {".json", ".jinja", ".safetensors", ".model", ".txt"}
_NOT_HASHED = {"alignment.json", "trainer_state.json"}
_DOWNLOADED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


@dataclass(frozen=True)
class OpenedModel:
    """A language model that was read.

    Attributes:
        name: Its folder, or its name at the hub.
        folder: Where it lies.
        network: The network, in evaluation mode.
        tokenizer: Its tokenizer, from ``transformers``.
        token_ids: Turns pairs into its tokens.
        most_tokens: How long a prompt and a text can be.
        embedded: The same as an embedded model, if it is one.
    """

    name: str
    folder: Path
    network: Any
    tokenizer: Any
    token_ids: PairTokenizer
    most_tokens: int
    embedded: CatalogModel | None = None


def import_extra(name: str) -> ModuleType:
    """Import a package of the extra ``dpo``.

    Args:
        name: ``trl``, ``peft``, ``datasets``, ``accelerate`` or ``huggingface_hub``.

    Raises:
        InputError: If it, or something it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"needs the extra: pip install 'agentrec[dpo]' ({_short(error)})"
        ) from error


def open_model(model: Path | str, dtype: str = "float32") -> OpenedModel:
    """Read a model; nothing in its folder is run or unpickled.

    Args:
        model: A folder, or ``hub:OWNER/NAME``; only the second looks beyond this computer.
        dtype: Type to hold the weights in, or ``auto`` for the stored one. Ignored for the
            embedded model.

    Raises:
        InputError: If there is no such model, or not one that can be used.
    """
    folder = _located(model)
    name = str(model) if str(model).startswith(HUB) else str(folder)
    if (folder / _CATALOG_MODEL).is_file():
        return _open_embedded(folder, name)
    if (folder / _ADAPTER).is_file():
        raise InputError("is an adapter; name the model that it belongs to", file=folder)
    if not (folder / "config.json").is_file():
        raise InputError("is not a folder of a language model (no config.json)", file=folder)
    if not any(folder.glob("*.safetensors")):
        raise InputError("has no weights in *.safetensors, and no others are read", file=folder)
    return _open_causal(folder, name, dtype)


def open_tuned(model: Path | str, dtype: str = "float32") -> OpenedModel:
    """Read a model, or an adapter together with the model that it names.

    Args:
        model: As for ``open_model``, or a folder of an adapter.
        dtype: Type to hold the weights in.

    Raises:
        InputError: If there is no such model or adapter, or not one that can be used.
    """
    folder = None if str(model).startswith(HUB) else Path(model)
    if folder is None or not (folder / _ADAPTER).is_file():
        return open_model(model, dtype)
    try:
        described = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))
        base = described["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"cannot be read: {error}", file=folder / _ADAPTER) from error
    if not isinstance(base, str) or not (folder / "adapter_model.safetensors").is_file():
        raise InputError("names no model, or has no adapter_model.safetensors", file=folder)
    opened = open_model(base if Path(base).is_dir() else f"{HUB}{base}", dtype)
    peft = import_extra("peft")

    def load() -> Any:
        with catch_warnings():
            # It uses deprecated names of transformers.
            filterwarnings("ignore", category=FutureWarning)
            return peft.PeftModel.from_pretrained(opened.network, str(folder)).eval()

    return replace(opened, name=str(folder), folder=folder, network=_loaded(folder, load))


def folder_hash(folder: Path) -> str:
    """SHA-256 over the files that make a model what it is: weights, settings, tokenizer."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in _HASHED and file.name not in _NOT_HASHED and file.is_file():
            with file.open("rb") as content:
                inner = hashlib.file_digest(content, "sha256").hexdigest()
            digest.update(f"{file.name} {inner}\n".encode())
    return digest.hexdigest()


def _located(model: Path | str) -> Path:
    if not str(model).startswith(HUB):
        folder = Path(model)
        if not folder.is_dir():
            raise InputError("is not a folder of a language model", file=folder)
        # Absolute: an adapter names it, and may be loaded from elsewhere.
        return folder.resolve()
    name = str(model).removeprefix(HUB)
    hub = import_extra("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=_DOWNLOADED))
    except Exception as error:  # offline, no such name, no access
        raise InputError(
            f"{name!r} cannot be downloaded from the hub ({_short(error)}); "
            "HF_HUB_OFFLINE=0 allows downloads",
            field="model",
        ) from error


class WordsOnlyHead(nn.Module):
    """An output layer over the embedded model's marks and words, tied to its embedding.

    The network's own output also covers items, which no text was ever taught to keep low: they
    would take up most of the probability, and tuning would learn about them instead of words.

    Args:
        embedding: The network's embedding of tokens; it is not copied.
        words: How many of its first rows are marks and words.
    """

    bias: None = None

    def __init__(self, embedding: nn.Embedding, words: int) -> None:
        super().__init__()
        # In a list, so that its parameter does not count as this layer's a second time.
        self._embedding = [embedding]
        self._words = words

    @property
    def weight(self) -> Tensor:
        """Shape ``[words, width]``; gradients reach the embedding."""
        return self._embedding[0].weight[: self._words]

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute logits, ``[..., words]``."""
        return functional.linear(hidden, self.weight)


def _open_embedded(folder: Path, name: str) -> OpenedModel:
    model = load_model(folder)
    network: Any = model.network
    network.lm_head = WordsOnlyHead(network.transformer.wte, model.vocabulary.first_handle)
    return OpenedModel(
        name=name,
        folder=folder,
        network=network,
        tokenizer=model.vocabulary.tokenizer(),
        token_ids=EmbeddedPairTokenizer(model.vocabulary),
        most_tokens=network.config.n_positions,
        embedded=model,
    )


def _open_causal(folder: Path, name: str, dtype: str) -> OpenedModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = _loaded(folder, lambda: AutoTokenizer.from_pretrained(folder, **options))
    if tokenizer.eos_token_id is None:
        raise InputError("its tokenizer has no mark for the end of a text", file=folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    options |= {"use_safetensors": True, "dtype": dtype, "output_loading_info": True}
    network, found = _loaded(
        folder, lambda: AutoModelForCausalLM.from_pretrained(folder, **options)
    )
    if missing := sorted(found["missing_keys"]):
        # They would have been filled with random numbers.
        raise InputError(f"its weights lack {', '.join(missing[:3])}", file=folder)
    if len(tokenizer) > network.get_input_embeddings().num_embeddings:
        raise InputError("its tokenizer has more tokens than its network", file=folder)
    most = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    return OpenedModel(
        name=name,
        folder=folder,
        network=network.eval(),
        tokenizer=tokenizer,
        token_ids=ChatPairTokenizer(tokenizer),
        most_tokens=most or 1_000_000,
    )


def _loaded(folder: Path, load: Callable[[], Any]) -> Any:
    try:
        with no_progress_bars():
            return load()
    except Exception as error:  # of many kinds, and all mean that the folder cannot be used
        raise InputError(f"cannot be loaded: {_short(error)}", file=folder) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
