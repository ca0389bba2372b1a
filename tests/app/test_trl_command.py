"""What `agentrec prefer export` writes is what TRL's own command line trains on, as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from app.planted_pairs import save_tiny_llama, short_pairs
from safetensors.torch import load_file
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.stores.pairs.export import write_pairs


@pytest.mark.parametrize(
    ("form", "name", "trl"),
    [
        ("conversational", "pairs.parquet", [str(Path(sys.executable).parent / "trl"), "dpo"]),
        # The program that the command starts, without the seconds before it does.
        ("plain", "pairs.jsonl", [sys.executable, "-m", "trl.scripts.dpo"]),
    ],
)
def test_trl_trains_on_an_export_without_a_change(
    form: str, name: str, trl: list[str], tmp_path: Path
) -> None:
    model, out = save_tiny_llama(tmp_path / "model"), tmp_path / "out"
    pairs, data = tmp_path / "collected.jsonl", tmp_path / "data"
    write_pairs(pairs, short_pairs(8))
    given = ["prefer", "export", str(data / name), "--pairs", str(pairs), "--form", form]
    exported = CliRunner().invoke(app, given)
    assert exported.exit_code == 0, exported.output
    command = [*trl, "--model_name_or_path", str(model), "--dataset_name", str(data)]
    command += ["--output_dir", str(out), "--num_train_epochs", "1", "--report_to", "none"]
    command += ["--use_cpu", "--bf16", "False"]
    caches = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, env=os.environ | caches, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    before, after = (load_file(each / "model.safetensors") for each in (model, out))
    assert before.keys() == after.keys()
    assert any(not after[name].equal(before[name]) for name in before)
    assert all(bool(tensor.isfinite().all()) for tensor in after.values())
