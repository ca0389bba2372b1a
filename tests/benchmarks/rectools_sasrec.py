"""Trains RecTools' SASRec and ranks with it, in an interpreter that has RecTools.

Called as ``python rectools_sasrec.py TASK ANSWER``, two JSON files. RecTools wants other versions
of what agentrec uses, so it lives in an environment of its own, and this file imports nothing of
ours. The epoch is chosen as ours is: by the mean of the last looks at validation.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import pytorch_lightning as lightning
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

# The model copies its trainer and with that its callbacks, so what these find lies here.
FOUND: dict = {"looks": [], "score": -1.0, "epoch": -1, "weights": None, "model": None}
TASK: dict = {}


def ranks(sessions: list[dict]) -> list[int]:
    """Rank of each target among its candidates; of equals, it comes last."""
    model = FOUND["model"]
    network = model.lightning_model.torch_model
    number = model.data_preparator.item_id_map.to_internal.to_dict()
    length = model.session_max_len
    rows = []
    for session in sessions:
        known = [number[item] for item in session["items"] if item in number][-length:]
        rows.append([0] * (length - len(known)) + known)
    network.eval()
    with torch.no_grad():
        items = network.item_model.get_all_embeddings()
        users = network.encode_sessions({"x": torch.tensor(rows)}, items)[:, -1]
        scores = users @ items.T
    network.train()
    found = []
    for session, row in zip(sessions, scores.tolist(), strict=True):
        fits = {each: row[number[each]] for each in session["candidates"] if each in number}
        target = fits.pop(session["target"], -math.inf)
        unknown = len(session["candidates"]) - 1 - len(fits)
        not_worse = sum(fit >= target for fit in fits.values())
        found.append(1 + not_worse + (unknown if target == -math.inf else 0))
    return found


def ndcg(of_ranks: list[int]) -> float:
    return sum(1 / math.log2(rank + 1) for rank in of_ranks if rank <= 10) / len(of_ranks)


class Watch(lightning.Callback):
    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule):
        FOUND["looks"].append(ndcg(ranks(TASK["valid"])))
        recent = FOUND["looks"][-TASK["selection_window"] :]
        score, epoch = sum(recent) / len(recent), len(FOUND["looks"])
        if score > FOUND["score"]:
            weights = {k: v.clone() for k, v in module.torch_model.state_dict().items()}
            FOUND.update(score=score, epoch=epoch, weights=weights)
        elif epoch - FOUND["epoch"] >= TASK["patience"]:
            trainer.should_stop = True


def new_trainer() -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=TASK["epochs"],
        min_epochs=1,
        accelerator="cpu",
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=TASK.get("gradient_clip"),
        callbacks=[Watch()],
    )


def main(task: Path, answer: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    TASK.update(json.loads(task.read_text()))
    lightning.seed_everything(TASK["seed"], verbose=False)
    rows = [
        (f"u{number}", item, 1.0, pd.Timestamp(2000, 1, 1) + pd.Timedelta(seconds=place))
        for number, sequence in enumerate(TASK["train"])
        for place, item in enumerate(sequence)
    ]
    columns = [Columns.User, Columns.Item, Columns.Weight, Columns.Datetime]
    dataset = Dataset.construct(pd.DataFrame(rows, columns=columns))
    model = SASRecModel(**TASK["model"], get_trainer_func=new_trainer)
    FOUND["model"] = model
    started = time.perf_counter()
    model.fit(dataset)
    seconds = time.perf_counter() - started
    model.lightning_model.torch_model.load_state_dict(FOUND["weights"])
    told = {
        "valid_ndcg": ndcg(ranks(TASK["valid"])),
        "valid_score": FOUND["score"],
        "epoch": FOUND["epoch"],
        "epochs": len(FOUND["looks"]),
        "seconds": seconds,
        "ranks": {name: ranks(sessions) for name, sessions in TASK["rank"].items()},
    }
    answer.write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
