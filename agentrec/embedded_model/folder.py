"""The embedded model on disk: a plain Hugging Face folder with a card."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from agentrec.embedded_model.language.vocabulary import Vocabulary
from agentrec.errors import InputError
from agentrec.llm.providers.quiet_transformers import no_progress_bars

_VOCABULARY_FILE = "catalog_lm.json"


@dataclass(frozen=True)
class CatalogModel:
    """A trained embedded model.

    Attributes:
        name: What it is called in provenance and journals; holds the hash of what it was
            trained from.
        network: The network, in evaluation mode.
        vocabulary: Its tokens.
        folder: Where it was read from, if it was.
    """

    name: str
    network: GPT2LMHeadModel
    vocabulary: Vocabulary
    folder: Path | None = None

    @property
    def weights_hash(self) -> str:
        """SHA-256 over all weights and their names: equal for models that answer alike."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()


def save_model(model: CatalogModel, card: str, folder: Path) -> None:
    """Write a model folder; it appears whole or not at all.

    Args:
        model: The trained model.
        card: Text of the model card (``README.md``).
        folder: Where; an existing folder is left as it is.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with no_progress_bars():
            model.network.save_pretrained(scratch)
        model.vocabulary.tokenizer().save_pretrained(scratch)
        described = {
            "name": model.name,
            "words": model.vocabulary.words,
            "labels": model.vocabulary.labels,
            "factors": model.vocabulary.factors,
        }
        (scratch / _VOCABULARY_FILE).write_text(json.dumps(described), encoding="utf-8")
        (scratch / "README.md").write_text(card, encoding="utf-8")
        if not folder.exists():
            _move(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move(scratch: Path, folder: Path) -> None:
    try:
        scratch.rename(folder)
    except OSError:
        # Another process that taught itself the same was first.
        if not folder.is_dir():
            raise


def load_model(folder: Path) -> CatalogModel:
    """Read a model folder.

    Raises:
        InputError: If it is not such a folder.
    """
    described_in = folder / _VOCABULARY_FILE
    if not described_in.is_file():
        raise InputError(
            f"is not a folder of an embedded model (no {_VOCABULARY_FILE})", file=folder
        )
    try:
        described = json.loads(described_in.read_text(encoding="utf-8"))
        vocabulary = Vocabulary(
            *(tuple(described[part]) for part in ("words", "labels", "factors"))
        )
        name = str(described["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot be read: {error}", file=described_in) from error
    network = _load_network(folder)
    if network.config.vocab_size != vocabulary.size:
        raise InputError("network and vocabulary do not belong together", file=folder)
    network.train(False)
    return CatalogModel(name, network, vocabulary, folder)


def _load_network(folder: Path) -> GPT2LMHeadModel:
    # Looked at first, because the library's own complaints seldom name the file.
    config, weights = folder / "config.json", folder / "model.safetensors"
    try:
        described = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"cannot be read: {error}", file=config) from error
    # Before anything is built: a network of another kind may be larger than the memory.
    if not isinstance(described, dict) or described.get("model_type") != "gpt2":
        raise InputError("does not describe a network of this kind", file=config)
    try:
        with safe_open(weights, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot be read: {error}", file=weights) from error
    try:
        with no_progress_bars():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # of many kinds, and all mean that the folder is of no use
        told = " ".join(str(error).split())[:300]
        raise InputError(f"cannot be loaded: {told}", file=folder) from error
    network, found = loaded
    if not isinstance(network, GPT2LMHeadModel):
        raise InputError("does not describe a network of this kind", file=config)
    if missing := sorted(found["missing_keys"]):
        # They would have been filled with random numbers.
        raise InputError(f"lacks {', '.join(missing)}", file=weights)
    return network
