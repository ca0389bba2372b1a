"""The embedded model on disk: a plain Hugging Face folder with a card."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from agentrec.embedded_model.vocabulary import Vocabulary
from agentrec.errors import InputError
from agentrec.llm.quiet_transformers import no_progress_bars

_VOCABULARY_FILE = "catalog_lm.json"
# While transformers loads a network it changes state of the whole process: two threads that load at
# once can end with weights that are not tied.
_LOADING = threading.Lock()


@dataclass(frozen=True)
class CatalogModel:
    """A trained embedded model.

    Attributes:
        name: Its name in provenance and journals; holds the hash of what it was trained from.
        network: The network, in evaluation mode.
        vocabulary: Its tokens.
        folder: Where it was read from, if anywhere.
    """

    name: str
    network: GPT2LMHeadModel
    vocabulary: Vocabulary
    folder: Path | None = None

    @property
    def weights_hash(self) -> str:
        """SHA-256 over all weights and their names."""
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
        folder: The new folder; an existing one is left as it is.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with no_progress_bars():
            model.network.save_pretrained(scratch)
        model.vocabulary.tokenizer().save_pretrained(scratch)
        description = {
            "name": model.name,
            "words": model.vocabulary.words,
            "labels": model.vocabulary.labels,
            "factors": model.vocabulary.factors,
        }
        (scratch / _VOCABULARY_FILE).write_text(json.dumps(description), encoding="utf-8")
        (scratch / "README.md").write_text(card, encoding="utf-8")
        if not folder.exists():
            _move(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move(scratch: Path, folder: Path) -> None:
    try:
        scratch.rename(folder)
    except OSError:
        # Another process that trained the same model was first.
        if not folder.is_dir():
            raise


def load_model(folder: Path) -> CatalogModel:
    """Read a model folder.

    Raises:
        InputError: If it is not such a folder.
    """
    vocabulary_file = folder / _VOCABULARY_FILE
    if not vocabulary_file.is_file():
        raise InputError(
            f"is not the folder of an embedded model (no {_VOCABULARY_FILE})", file=folder
        )
    try:
        description = json.loads(vocabulary_file.read_text(encoding="utf-8"))
        vocabulary = Vocabulary(
            *(tuple(description[part]) for part in ("words", "labels", "factors"))
        )
        name = str(description["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot be read: {error}", file=vocabulary_file) from error
    network = _load_network(folder)
    if network.config.vocab_size != vocabulary.size:
        raise InputError("network and vocabulary do not belong together", file=folder)
    network.train(False)
    return CatalogModel(name, network, vocabulary, folder)


def _load_network(folder: Path) -> GPT2LMHeadModel:
    # Checked first: the library's own errors seldom name the file.
    config, weights = folder / "config.json", folder / "model.safetensors"
    try:
        description = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"cannot be read: {error}", file=config) from error
    # Before anything is built: another kind of network may exceed the memory.
    if not isinstance(description, dict) or description.get("model_type") != "gpt2":
        raise InputError("does not describe a network of this kind", file=config)
    try:
        with safe_open(weights, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot be read: {error}", file=weights) from error
    try:
        with _LOADING, no_progress_bars():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # of many kinds, all of which mean an unusable folder
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"cannot be loaded: {reason}", file=folder) from error
    network, found = loaded
    if not isinstance(network, GPT2LMHeadModel):
        raise InputError("does not describe a network of this kind", file=config)
    if missing := sorted(found["missing_keys"]):
        # They would be filled with random numbers.
        raise InputError(f"lacks {', '.join(missing)}", file=weights)
    return network
