"""What tuning needs beside the library, imported when it is needed."""

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
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.folder import CatalogModel, load_model
from agentrec.embedded_model.language.vocabulary import Vocabulary
from agentrec.errors import InputError
from agentrec.llm.providers.quiet_transformers import no_progress_bars
from agentrec.policies.alignment.catalog_tokens import EmbeddedPairTokenizer
from agentrec.policies.alignment.pair_encoding import ChatPairTokenizer, PairTokenizer


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
        told = " ".join(str(error).split())[:200]
        raise InputError(f"needs the extra: pip install 'agentrec[dpo]' ({told})") from error


class WordsOnlyHead(nn.Module):
    """An output layer over the marks and words, tied to the first rows of the embedding.

    The network's own output is over items too, which no text was ever taught to keep low: they
    would take up most of the probability, and tuning would learn about them instead of words.

    Args:
        embedding: The network's embedding of tokens; it is not copied.
        words: How many of its rows are marks and words.
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
        """Logits ``[..., words]``."""
        return functional.linear(hidden, self.weight)


def restrict_output_to_words(network: GPT2LMHeadModel, vocabulary: Vocabulary) -> None:
    """Give a network that output layer, in place."""
    head: Any = WordsOnlyHead(network.transformer.wte, vocabulary.first_handle)
    network.lm_head = head


HUB = "hub:"
_ADAPTER = "adapter_config.json"
_CATALOG_MODEL = "catalog_lm.json"
_HASHED = {".json", ".jinja", ".safetensors", ".model", ".txt"}
_NOT_OF_THE_MODEL = {"alignment.json", "trainer_state.json"}


@dataclass(frozen=True)
class OpenedModel:
    """A language model that was read.

    Attributes:
        name: What it is called: where it lies, or what it is called at the hub.
        folder: Where it lies.
        network: The network, in evaluation mode.
        tokenizer: Its tokenizer, from ``transformers``.
        token_ids: Says pairs in its tokens.
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


def open_model(model: Path | str, dtype: str = "float32") -> OpenedModel:
    """Read a model; nothing in its folder is run or unpickled.

    Args:
        model: A folder, or ``hub:OWNER/NAME``; only the second looks beyond this computer.
        dtype: What the weights are held in, or ``auto`` for what they are stored in. Of no
            consequence to the embedded model.

    Raises:
        InputError: If there is no such model, or not one that can be used.
    """
    folder = _located(model)
    name = str(model) if str(model).startswith(HUB) else str(folder)
    if (folder / _CATALOG_MODEL).is_file():
        return _embedded(folder, name)
    if (folder / _ADAPTER).is_file():
        raise InputError("is an adapter; name the model that it belongs to", file=folder)
    if not (folder / "config.json").is_file():
        raise InputError("is not a folder of a language model (no config.json)", file=folder)
    if not any(folder.glob("*.safetensors")):
        raise InputError("has no weights in *.safetensors, and no others are read", file=folder)
    return _causal(folder, name, dtype)


def open_tuned(model: Path | str, dtype: str = "float32") -> OpenedModel:
    """Read a model, or an adapter together with the model that it names.

    Args:
        model: As for ``open_model``, or a folder of an adapter.
        dtype: What the weights are held in.

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
    try:
        with catch_warnings():
            # It calls what transformers now calls otherwise.
            filterwarnings("ignore", category=FutureWarning)
            network = peft.PeftModel.from_pretrained(opened.network, str(folder)).eval()
    except Exception as error:  # of many kinds, and all mean that the adapter is of no use
        raise InputError(f"cannot be loaded: {_told(error)}", file=folder) from error
    return replace(opened, name=str(folder), folder=folder, network=network)


def folder_hash(folder: Path) -> str:
    """SHA-256 over the files that make a model what it is: weights, settings, tokenizer."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in _HASHED and file.name not in _NOT_OF_THE_MODEL and file.is_file():
            with file.open("rb") as content:
                inner = hashlib.file_digest(content, "sha256").hexdigest()
            digest.update(f"{file.name} {inner}\n".encode())
    return digest.hexdigest()


def _located(model: Path | str) -> Path:
    if not str(model).startswith(HUB):
        folder = Path(model)
        if not folder.is_dir():
            raise InputError("is not a folder of a language model", file=folder)
        # Absolute, because an adapter names it for whoever loads it from elsewhere.
        return folder.resolve()
    name = str(model).removeprefix(HUB)
    hub = import_extra("huggingface_hub")
    try:
        return Path(
            hub.snapshot_download(
                name, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
            )
        )
    except Exception as error:  # offline, no such name, no right to it
        raise InputError(
            f"{name!r} cannot be had from the hub ({_told(error)}); HF_HUB_OFFLINE=0 allows asking",
            field="model",
        ) from error


def _embedded(folder: Path, name: str) -> OpenedModel:
    model = load_model(folder)
    restrict_output_to_words(model.network, model.vocabulary)
    return OpenedModel(
        name=name,
        folder=folder,
        network=model.network,
        tokenizer=model.vocabulary.tokenizer(),
        token_ids=EmbeddedPairTokenizer(model.vocabulary),
        most_tokens=model.network.config.n_positions,
        embedded=model,
    )


def _causal(folder: Path, name: str, dtype: str) -> OpenedModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = _loaded(folder, lambda: AutoTokenizer.from_pretrained(folder, **options))
    if tokenizer.eos_token_id is None:
        raise InputError("its tokenizer has no mark for the end of a text", file=folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    network, found = _loaded(
        folder,
        lambda: AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
        ),
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
    except Exception as error:  # of many kinds, and all mean that the folder is of no use
        raise InputError(f"cannot be loaded: {_told(error)}", file=folder) from error


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
