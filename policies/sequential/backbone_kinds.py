"""The backbones by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from agentrec.policies.sequential.backbone import Backbone
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.gru4rec import GRU4Rec
from agentrec.policies.sequential.sasrec import SASRec

BACKBONES: Mapping[BackboneKind, Callable[[int, BackboneConfig, torch.Generator], Backbone]] = {
    "sasrec": SASRec,
    "gru4rec": GRU4Rec,
}
