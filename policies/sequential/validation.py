"""How good a backbone is on sessions that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from agentrec.evaluation.metrics import ndcg_of_ranks
from agentrec.policies.sequential.backbone import PADDING, Backbone
from agentrec.policies.sequential.scoring import affinities
from agentrec.policies.sequential.sequences import history_tensor, left_padded
from agentrec.sessions import Session

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class ValidationTask:
    """Sessions with what came next and what it is to be told from.

    Attributes:
        histories: Item numbers, ``[sessions, length]``, left-padded with 0.
        targets: ``[sessions]``.
        others: The candidates beside the target, ``[sessions, width]``, padded with 0.
    """

    histories: torch.Tensor
    targets: torch.Tensor
    others: torch.Tensor

    @classmethod
    def of(
        cls, sessions: Sequence[Session], numbers: Mapping[str, int], max_length: int
    ) -> ValidationTask:
        """Prepare sessions.

        Args:
            sessions: With targets. Without candidates of its own, a session's are the whole
                catalogue but its history.
            numbers: From ``item_numbers``; candidates without a number are passed over.
            max_length: Longest history to read, at least 1.

        Raises:
            ValueError: If a session's target is missing or not in the catalogue.
        """
        targets, others = [], []
        for session in sessions:
            if session.target is None or session.target not in numbers:
                raise ValueError(
                    f"validation session {session.session_id!r} needs a target that is in the "
                    f"catalogue, not {session.target!r}"
                )
            targets.append(numbers[session.target])
            among = session.candidates or numbers.keys() - set(session.items)
            others.append(sorted({numbers.get(each, PADDING) for each in among} - {targets[-1]}))
        return cls(
            history_tensor(sessions, numbers, max_length),
            torch.tensor(targets, dtype=torch.int64),
            left_padded(others, 1 + len(numbers)),
        )

    def ndcg(self, backbone: Backbone, log_counts: torch.Tensor) -> float:
        """Mean NDCG@10 of the target among the candidates, 0 to 1; of equals, it comes last.

        Args:
            backbone: The network.
            log_counts: See ``affinities``.
        """
        ranks = []
        for start in range(0, len(self.targets), _CHUNK):
            rows = slice(start, start + _CHUNK)
            scores = affinities(backbone, self.histories[rows], log_counts)
            others = self.others[rows]
            of_target = scores.gather(1, self.targets[rows, None] - 1)
            of_others = scores.gather(1, (others - 1).clamp(min=0))
            ranks.append(1 + ((of_others >= of_target) & (others != PADDING)).sum(dim=1))
        return float(ndcg_of_ranks(torch.cat(ranks).numpy()).mean())
