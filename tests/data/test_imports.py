from __future__ import annotations

import subprocess
import sys

import agentrec.data


def test_reading_data_needs_no_model_or_store_library() -> None:
    code = (
        "import sys, agentrec.data\n"
        "print({'torch', 'qdrant_client', 'transformers', 'langchain_core'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_public_name_is_there() -> None:
    assert all(hasattr(agentrec.data, name) for name in agentrec.data.__all__)
