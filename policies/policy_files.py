"""How a policy of any kind lies on disk: a JSON description and the safetensors file it names."""

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
    """The session encoder whose states a policy was trained on, so that it can be made again.

    Attributes:
        embeddings: Name of the text embeddings, such as ``minilm``.
        dimension: Width of a text vector.
        blocks: What a state holds, in this order.
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
    """What ``policy.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    kind: str = Field(min_length=1)
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    description: dict[str, Any]
    encoder: EncoderRecord | None = None


class _AnyFormat(BaseModel):
    """As much of a description file as says which format it is in."""

    format: str


@dataclass(frozen=True, eq=False)
class StoredPolicy:
    """A policy as it was read, for the class of its kind to make one of.

    Attributes:
        kind: Name of the kind of policy.
        description: What the policy wrote about itself, plain JSON.
        tensors: Its numbers by name; ``take`` removes from these.
        description_file: Where the description came from.
        weights_file: Where the tensors came from.
        encoder: What its states were made by; ``None`` where that was not recorded.
    """

    kind: str
    description: dict[str, Any]
    tensors: dict[str, np.ndarray[Any, Any]]
    description_file: Path
    weights_file: Path
    encoder: EncoderRecord | None = None

    def parse_description(self, model: type[_Description]) -> _Description:
        """The description, checked.

        Raises:
            InputError: It is not what ``model`` says.
        """
        try:
            return model.model_validate_json(json.dumps(self.description))
        except ValidationError as error:
            raise _not_valid(error, self.description_file, ("description",)) from error

    def take(self, name: str, shape: Sequence[int | None] | None = None) -> npt.NDArray[np.float32]:
        """Remove a tensor from ``tensors``, or say what is wrong with it.

        Args:
            name: The tensor.
            shape: What the policy needs, ``None`` in it for a dimension of any length; ``None``
                for any shape.

        Raises:
            InputError: It is missing, not float32, of another shape, or not finite.
        """
        tensor = self.tensors.pop(name, None)
        if tensor is None:
            raise InputError("is missing", file=self.weights_file, field=name)
        if tensor.dtype != np.float32:
            raise InputError(
                f"is {tensor.dtype}; it must be float32", file=self.weights_file, field=name
            )
        if shape is not None and not (
            tensor.ndim == len(shape)
            and all(want in (None, have) for want, have in zip(shape, tensor.shape, strict=True))
        ):
            wanted = ", ".join("any" if want is None else str(want) for want in shape)
            raise InputError(
                f"has shape {list(tensor.shape)}; the policy needs [{wanted}]",
                file=self.weights_file,
                field=name,
            )
        if not bool(np.isfinite(tensor).all()):
            raise InputError("holds a value that is not finite", file=self.weights_file, field=name)
        return tensor

    def reject_unused_tensors(self) -> None:
        """Say so if tensors are left that nobody took.

        Raises:
            InputError: There are.
        """
        if self.tensors:
            raise InputError(
                "holds tensors the policy does not have",
                file=self.weights_file,
                field=min(self.tensors),
            )


@runtime_checkable
class StorableHintPolicy(HintPolicy, Protocol):
    """A hint policy that can be written to a folder, as every ``PolicyOnDisk`` that chooses."""

    kind: ClassVar[str]

    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """Return what describes the policy, and its numbers by name."""
        ...


class PolicyOnDisk(ABC):
    """A policy that can be saved and loaded, by the two things a subclass says of itself."""

    kind: ClassVar[str]
    """Name of the kind of policy."""

    @abstractmethod
    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What the numbers mean, and the numbers by name."""

    @classmethod
    @abstractmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make the policy that was read.

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
            encoder: The encoder it was trained with, so that whoever loads it can make that again.

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
    """Write a policy so that a reader finds the previous one or this one, never a mixture.

    The weights come first, under a name made from their content; renaming the description into
    place is what publishes them. Weights no description names any more are removed last.

    Args:
        folder: Where; made if missing.
        kind: Name of the kind of policy, which says who can read it.
        description: What the numbers mean.
        tensors: The numbers by name; there may be none.
        encoder: The encoder that its states come from.

    Raises:
        OSError: The folder cannot be written.
    """
    # The library writes the memory as it lies: of a transposed array, other numbers.
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
        kind: What kind of policy it has to be; ``None`` for any.

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
        # The format comes first: another one has other fields, which would be named instead.
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
    """Return what was recorded of the encoder of the policy in a folder; ``None`` for nothing.

    Raises:
        InputError: As ``read_policy``.
    """
    return read_policy(folder).encoder


def _not_valid(error: ValidationError, file: Path, place: tuple[str, ...] = ()) -> InputError:
    first = error.errors()[0]
    field = ".".join((*place, *(str(part) for part in first["loc"]))) or None
    return InputError(first["msg"], file=file, field=field)


def _weights_file(folder: Path, digest: str) -> Path:
    return folder / f"weights-{digest[:16]}.safetensors"
