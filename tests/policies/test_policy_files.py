import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from safetensors.numpy import save

from agentrec.errors import InputError
from agentrec.policies import policy_files
from agentrec.policies.policy_files import EncoderRecord, read_encoder, read_policy, write_policy


class Description(BaseModel):
    ids: tuple[str, ...] = ("a", "b")
    rate: float = 0.5


TENSORS = {
    "wide": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(3, dtype=np.float32),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_policy(tmp_path / "policy", "sketch", Description(), TENSORS)
    return tmp_path / "policy"


def _edit(folder: Path, **changes: Any) -> None:
    file = folder / "policy.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def _refused(folder: Path, problem: str | None = None, kind: str | None = None) -> InputError:
    with pytest.raises(InputError, match=problem) as refused:
        read_policy(folder, kind)
    return refused.value


def test_what_was_written_is_read(folder: Path) -> None:
    stored = read_policy(folder)
    assert stored.kind == "sketch"
    assert stored.description == {"ids": ["a", "b"], "rate": 0.5}
    assert stored.parse_description(Description) == Description()
    for name, tensor in TENSORS.items():
        taken = stored.take(name, tensor.shape)
        assert np.array_equal(taken, tensor)
        assert taken.dtype == np.float32
    stored.reject_unused_tensors()
    assert stored.description_file == folder / "policy.json"
    assert list(folder.glob("weights-*.safetensors")) == [stored.weights_file]


def test_what_is_needed_of_the_encoder_is_stored_with_the_policy(folder: Path) -> None:
    assert read_encoder(folder) is None, "a policy that was saved without it is read"
    encoder = EncoderRecord(
        embeddings="minilm", dimension=384, blocks=("text", "length"), recency=0.8, state_dim=9
    )
    write_policy(folder, "sketch", Description(), TENSORS, encoder=encoder)
    assert read_encoder(folder) == encoder
    _edit(folder, encoder={**encoder.model_dump(mode="json"), "blocks": ["smell"]})
    assert _refused(folder).field == "encoder.blocks.0"


def test_an_encoder_of_another_class_is_not_described() -> None:
    assert EncoderRecord.of(object(), "minilm") is None


def test_the_memory_layout_of_a_tensor_does_not_matter(tmp_path: Path) -> None:
    turned = TENSORS["wide"].T
    write_policy(tmp_path, "sketch", Description(), {"turned": turned, "part": turned[::2]})
    stored = read_policy(tmp_path)
    assert np.array_equal(stored.take("turned"), turned)
    assert np.array_equal(stored.take("part"), turned[::2])


def test_there_may_be_no_tensor(tmp_path: Path) -> None:
    write_policy(tmp_path, "sketch", Description(), {})
    assert read_policy(tmp_path).tensors == {}


def test_another_policy_takes_the_place_of_the_first(folder: Path) -> None:
    first = read_policy(folder).weights_file
    write_policy(folder, "other", Description(rate=0.1), {"wide": TENSORS["wide"] + 1})
    stored = read_policy(folder)
    assert stored.kind == "other"
    assert stored.description["rate"] == 0.1
    assert not first.exists()


@pytest.mark.parametrize("writes_before_the_end", [0, 1])
def test_a_writer_that_dies_leaves_the_old_policy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, writes_before_the_end: int
) -> None:
    written: list[Path] = []

    def dying(path: Path, content: bytes) -> None:
        if len(written) == writes_before_the_end:
            raise KeyboardInterrupt
        written.append(path)
        path.write_bytes(content)

    monkeypatch.setattr(policy_files, "write_atomically", dying)
    with pytest.raises(KeyboardInterrupt):
        write_policy(folder, "other", Description(rate=0.1), {"wide": TENSORS["wide"] + 1})
    stored = read_policy(folder)
    assert stored.kind == "sketch"
    assert np.array_equal(stored.take("wide"), TENSORS["wide"])


def test_a_folder_without_a_policy_is_named(tmp_path: Path) -> None:
    assert _refused(tmp_path, "no trained policy").file == tmp_path / "policy.json"


def test_another_format_is_named_before_its_other_fields(folder: Path) -> None:
    (folder / "policy.json").write_text('{"format": "agentrec-ppo-policy-1", "config": {}}')
    error = _refused(folder, "'agentrec-ppo-policy-1'; 'agentrec-policy-2' can be read")
    assert error.field == "format"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": ""}, "kind"),
        ({"weights_sha256": "../../etc/passwd"}, "weights_sha256"),
        ({"description": [1]}, "description"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_broken_field_is_named(folder: Path, changes: dict[str, Any], field: str) -> None:
    _edit(folder, **changes)
    error = _refused(folder)
    assert (error.file, error.field) == (folder / "policy.json", field)


def test_half_a_description_is_refused(folder: Path) -> None:
    file = folder / "policy.json"
    file.write_bytes(file.read_bytes()[:40])
    assert _refused(folder, "JSON").file == file


def test_weights_of_another_policy_are_refused(folder: Path) -> None:
    weights = read_policy(folder).weights_file
    weights.write_bytes(save({"wide": TENSORS["wide"] + 1}))
    assert _refused(folder, "hash differs").file == weights
    weights.unlink()
    assert _refused(folder, "cannot be read").file == weights


@pytest.mark.parametrize("content", [b"", b"rubbish that is long enough to be a header"])
def test_weights_that_are_no_tensors_are_refused(folder: Path, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    (folder / f"weights-{digest[:16]}.safetensors").write_bytes(content)
    _edit(folder, weights_sha256=digest)
    _refused(folder, "safetensors")


def test_numbers_that_numpy_does_not_have_are_refused(folder: Path) -> None:
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    header += b" " * (-len(header) % 8)
    content = len(header).to_bytes(8, "little") + header + b"\0\0"
    digest = hashlib.sha256(content).hexdigest()
    (folder / f"weights-{digest[:16]}.safetensors").write_bytes(content)
    _edit(folder, weights_sha256=digest)
    _refused(folder, "BF16")


def test_another_kind_is_refused_where_one_is_asked_for(folder: Path) -> None:
    assert read_policy(folder, "sketch").kind == "sketch"
    assert _refused(folder, "'sketch', not 'other'", "other").field == "kind"


def test_a_description_that_does_not_fit_is_named_by_field(folder: Path) -> None:
    class Other(BaseModel):
        ids: tuple[int, ...]

    with pytest.raises(InputError) as refused:
        read_policy(folder).parse_description(Other)
    assert refused.value.field == "description.ids.0"
    assert refused.value.file == folder / "policy.json"


@pytest.mark.parametrize(
    ("name", "shape", "problem"),
    [
        ("absent", None, "is missing"),
        ("double", (2,), "float64; it must be float32"),
        ("wide", (3, 2), r"shape \[2, 3\]; the policy needs \[3, 2\]"),
        ("wide", (None, 2), r"needs \[any, 2\]"),
        ("wide", (2, 3, 1), r"shape \[2, 3\]"),
        ("broken", None, "not finite"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    tmp_path: Path, name: str, shape: tuple[int | None, ...] | None, problem: str
) -> None:
    tensors: dict[str, np.ndarray] = {
        **TENSORS,
        "double": np.zeros(2),
        "broken": np.array([1, np.inf], dtype=np.float32),
    }
    write_policy(tmp_path, "sketch", Description(), tensors)
    with pytest.raises(InputError, match=problem) as refused:
        read_policy(tmp_path).take(name, shape)
    assert refused.value.field == name
    assert refused.value.file == next(tmp_path.glob("weights-*"))


def test_a_dimension_may_be_of_any_length(folder: Path) -> None:
    assert read_policy(folder).take("wide", (None, 3)).shape == (2, 3)


def test_a_tensor_too_many_is_named(folder: Path) -> None:
    stored = read_policy(folder)
    stored.take("scalar")
    with pytest.raises(InputError, match="does not have") as refused:
        stored.reject_unused_tensors()
    assert refused.value.field == "wide"
