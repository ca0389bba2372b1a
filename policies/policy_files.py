"""Policies on disk: a JSON description, and the safetensors file that it names."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from agentrec.atomic_files import write_atomically
from agentrec.contracts import HintPolicy
from agentrec.errors import InputError
from agentrec.session_encoding.blocks import BlockName
from agentrec.session_encoding.encoder import RecencySessionEncoder

DESCRIPTION_FILE = "policy.json"
_FORMAT = "agentrec-policy-2"

_Description = TypeVar("_Description", bound=BaseModel)


class EncoderRecord(BaseModel):
    """The session encoder that a policy was trained with, so that it can be made again.

    Attributes:
        embeddings: Name of the text embeddings, such as ``minilm``.
        dimension: Width of a text vector.
        blocks: The blocks of a state, in this order.
        recency: Factor between the weights of an item and the one after it, above 0 to 1.
        state_dim: Width of a state; it follows from the blocks and the catalogue.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embeddings: str = Field(min_length=1)
    dimension: int = Field(ge=1)
    blocks: tuple[BlockName, ...] = Field(min_length=1)
    recency: float = Field(gt=0, le=1)
    state_dim: int = Field(ge=1)

    @classmethod
    def of(cls, encoder: object, embeddings: str) -> Self | None:
        """Describe an encoder; ``None`` for one of another class than ``RecencySessionEncoder``.

        Args:
            encoder: The encoder that a policy is trained with.
            embeddings: Name of the text embeddings that it works with.
        """
        if not isinstance(encoder, RecencySessionEncoder):
            return None
        return cls(
            embeddings=embeddings,
            dimension=encoder.queries([]).shape[1],
            blocks=encoder.blocks,
            recency=encoder.recency,
            state_dim=encoder.states([]).shape[1],
        )


class _DescriptionFile(BaseModel):
    """The content of ``policy.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    kind: str = Field(min_length=1)
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    description: dict[str, Any]
    encoder: EncoderRecord | None = None


class _AnyFormat(BaseModel):
    """The part of a description file that every version has."""

    format: str


@dataclass(frozen=True, eq=False)
class StoredPolicy:
    """A policy as it was read, from which the class of its kind makes one.

    Attributes:
        kind: Name of the kind of policy.
        description: What its numbers mean, plain JSON.
        tensors: Its numbers by name; ``take`` removes from these.
        description_file: Where the description came from.
        weights_file: Where the tensors came from.
        encoder: The encoder it was trained with; ``None`` where that was not recorded.
    """

    kind: str
    description: dict[str, Any]
    tensors: dict[str, np.ndarray[Any, Any]]
    description_file: Path
    weights_file: Path
    encoder: EncoderRecord | None = None

    def parse_description(self, model: type[_Description]) -> _Description:
        """Check the description and return it as a model.

        Raises:
            InputError: It does not fit the model.
        """
        try:
            return model.model_validate_json(json.dumps(self.description))
        except ValidationError as error:
            raise _not_valid(error, self.description_file, ("description",)) from error

    def take(self, name: str, shape: Sequence[int | None] | None = None) -> npt.NDArray[np.float32]:
        """Remove a tensor from ``tensors`` and return it.

        Args:
            name: The tensor.
            shape: The shape it must have, ``None`` in it for a dimension of any length; ``None``
                for any shape.

        Raises:
            InputError: It is missing, not float32, of another shape, or not finite.
        """
        tensor = self.tensors.pop(name, None)
        problem = None
        if tensor is None:
            problem = "is missing"
        elif tensor.dtype != np.float32:
            problem = f"is {tensor.dtype}; it must be float32"
        elif shape is not None and not (
            tensor.ndim == len(shape)
            and all(want in (None, have) for want, have in zip(shape, tensor.shape, strict=True))
        ):
            wanted = ", ".join("any" if want is None else str(want) for want in shape)
            problem = f"has shape {list(tensor.shape)}; the policy needs [{wanted}]"
        elif not bool(np.isfinite(tensor).all()):
            problem = "holds a value that is not finite"
        if tensor is None or problem is not None:
            raise InputError(problem or "is missing", file=self.weights_file, field=name)
        return tensor

    def reject_unused_tensors(self) -> None:
        """Check that every tensor was taken.

        Raises:
            InputError: One was not.
        """
        if self.tensors:
            problem, field = "holds tensors the policy does not have", min(self.tensors)
            raise InputError(problem, file=self.weights_file, field=field)


@runtime_checkable
class StorableHintPolicy(HintPolicy, Protocol):
    """A hint policy that can be written to a folder, as every ``PolicyOnDisk`` that chooses."""

    kind: ClassVar[str]

    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """Return what describes the policy, and its numbers by name."""
        ...


class PolicyOnDisk(ABC):
    """A policy that can be saved and loaded; a subclass writes and reads its own numbers."""

    kind: ClassVar[str]
    """Name of the kind of policy."""

    @abstractmethod
    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """Return what the numbers mean, and the numbers by name."""

    @classmethod
    @abstractmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make a policy of what was read.

        Raises:
            InputError: It is not a whole policy of this kind.
        """

    @property
    def parameter_hash(self) -> str:
        """SHA-256 over all numbers, shapes and names: equal for equal policies."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.description_and_tensors()[1].items()):
            digest.update(f"{name}{tensor.dtype}{list(tensor.shape)}".encode())
            digest.update(np.ascontiguousarray(tensor).tobytes())
        return digest.hexdigest()

    def save(self, folder: Path, encoder: EncoderRecord | None = None) -> None:
        """Write the policy to ``folder``; one that is there is replaced in one step.

        Args:
            folder: Where; made if missing.
            encoder: The encoder it was trained with, so that a reader can make it again.

        Raises:
            OSError: The folder cannot be written.
        """
        write_policy(folder, self.kind, *self.description_and_tensors(), encoder=encoder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            InputError: The folder does not hold a whole policy of this kind.
        """
        return cls.from_stored(read_policy(folder, cls.kind))


def write_policy(
    folder: Path,
    kind: str,
    description: BaseModel,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    *,
    encoder: EncoderRecord | None = None,
) -> None:
    """Write a policy; a reader finds the previous one or this one, never a mixture.

    The weights come first, under a name made from their content; renaming the description into
    place publishes them. Old weights are removed last.

    Args:
        folder: Where; made if missing.
        kind: Name of the kind of policy.
        description: What the numbers mean.
        tensors: The numbers by name; there may be none.
        encoder: The encoder that its states come from.

    Raises:
        OSError: The folder cannot be written.
    """
    # The library writes memory as it is laid out: of a transposed array, other numbers.
    content = save({name: np.array(tensor, order="C") for name, tensor in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    weights = _weights_file(folder, digest)
    write_atomically(weights, content)
    document = _DescriptionFile(
        format=_FORMAT,
        kind=kind,
        weights_sha256=digest,
        description=description.model_dump(mode="json"),
        encoder=encoder,
    ).model_dump_json(indent=1)
    write_atomically(folder / DESCRIPTION_FILE, document.encode())
    for old in folder.glob("weights-*.safetensors"):
        if old != weights:
            old.unlink(missing_ok=True)


def read_policy(folder: Path, kind: str | None = None) -> StoredPolicy:
    """Read what ``write_policy`` wrote.

    Args:
        folder: Where.
        kind: The kind it must be; ``None`` for any.

    Raises:
        InputError: A file is missing, broken, or not the one that belongs to the other, or the
            policy is of another kind.
    """
    file = folder / DESCRIPTION_FILE
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise InputError("there is no trained policy here", file=file) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error
    try:
        # The format first: in another one, other fields would be named instead.
        found = _AnyFormat.model_validate_json(content).format
        if found != _FORMAT:
            raise InputError(f"is {found!r}; {_FORMAT!r} can be read", file=file, field="format")
        document = _DescriptionFile.model_validate_json(content)
    except ValidationError as error:
        raise _not_valid(error, file) from error
    if kind is not None and document.kind != kind:
        raise InputError(f"is {document.kind!r}, not {kind!r}", file=file, field="kind")
    weights = _weights_file(folder, document.weights_sha256)
    try:
        content = weights.read_bytes()
    except OSError as error:
        raise InputError("the policy's weights cannot be read", file=weights) from error
    if hashlib.sha256(content).hexdigest() != document.weights_sha256:
        raise InputError("is not the file the policy was saved with (hash differs)", file=weights)
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        # Numpy does not have every type of number that the format has.
        raise InputError(f"is not a whole safetensors file ({error})", file=weights) from error
    return StoredPolicy(
        document.kind, document.description, tensors, file, weights, document.encoder
    )


def read_encoder(folder: Path) -> EncoderRecord | None:
    """Return the encoder that was recorded with the policy in a folder; ``None`` for none.

    Raises:
        InputError: As ``read_policy``.
    """
    return read_policy(folder).encoder


def _not_valid(error: ValidationError, file: Path, parents: tuple[str, ...] = ()) -> InputError:
    first = error.errors()[0]
    field = ".".join((*parents, *(str(part) for part in first["loc"]))) or None
    return InputError(first["msg"], file=file, field=field)


def _weights_file(folder: Path, digest: str) -> Path:
    return folder / f"weights-{digest[:16]}.safetensors"
