"""The contract of a session encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agentrec.sessions import Session


class SessionEncoder(Protocol):
    """Encodes sessions as the vectors that hint searches and policies use.

    The methods compute and never wait. Encoding one session takes well under a millisecond, so it
    may run in an event loop; callers encode many sessions in a thread.
    """

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        """Return a policy's view of a session, ``[state_dim]``."""
        ...

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        """Return the search vector of a session, in the space of the hints' text vectors."""
        ...

    def states(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        """Return ``state`` of each session, ``[batch, state_dim]``; the batch may be empty."""
        ...

    def queries(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        """Return ``query`` of each session, ``[batch, dimension]``; the batch may be empty."""
        ...
