"""The contract of a hint knowledge base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrec.hints import ADMITTED, Hint, HintState, Revision, ScoredHint


class HintStore(Protocol):
    """Keeps hints with their vectors, finds the nearest ones, and remembers what they were.

    Every method may be awaited from an event loop: an implementation moves blocking work to a
    thread. Vectors are 1-D float sequences of one length per store; similarity is the cosine.
    All hints of a store are of one namespace.

    Every change is a revision: what the knowledge base was at any of them can be seen and brought
    back. Nothing is ever deleted; what is no longer wanted is retired.

    An implementation raises ``StoreError`` when its storage fails or it is asked for what is not
    there, ``ValueError`` on a vector of the wrong length or without direction (all zeros, not
    finite) and on a hint of another namespace.
    """

    async def add(self, hint: Hint, vector: Sequence[float]) -> bool:
        """Store a hint.

        Args:
            hint: The hint; its ``hint_id`` is its identity. It is stored with ``version`` 1 and
                the store's ``embedding``.
            vector: Its embedding, shape ``[dimension]``.

        Returns:
            True if it was new; False if a hint with that id is stored already, in whatever state
            (nothing changes).
        """
        ...

    async def add_many(
        self, hints: Sequence[Hint], vectors: Sequence[Sequence[float]], note: str = "added"
    ) -> list[bool]:
        """Store hints in one revision.

        Args:
            hints: The hints; one that comes twice is stored once.
            vectors: Their embeddings, ``[num_hints, dimension]``.
            note: What is done, for the list of revisions.

        Returns:
            For each whether it was new. If none was, there is no revision.
        """
        ...

    async def change(self, hints: Sequence[Hint], note: str) -> int:
        """Put hints, as they should be from now on, in the place of stored ones of the same ids.

        Text and vector stay; each stored hint's ``version`` is counted up. One revision.

        Args:
            hints: The hints, each id once; usually copies of stored ones with another state,
                other evidence, or a link.
            note: What is done, for the list of revisions.

        Returns:
            The number of the revision.

        Raises:
            StoreError: If an id is not stored; then nothing is changed.
        """
        ...

    async def get(self, hint_id: str) -> Hint | None:
        """The stored hint of an id, in whatever state, or ``None``."""
        ...

    async def search(
        self, vector: Sequence[float], limit: int, states: Sequence[HintState] = ADMITTED
    ) -> list[ScoredHint]:
        """Find the stored hints nearest to a vector.

        Args:
            vector: The query, shape ``[dimension]``.
            limit: How many at most, at least 1.
            states: In which states.

        Returns:
            The nearest hints with their vectors, most similar first; equal similarities in order
            of ``hint_id``.
        """
        ...

    async def search_many(
        self,
        vectors: Sequence[Sequence[float]],
        limit: int,
        states: Sequence[HintState] = ADMITTED,
    ) -> list[list[ScoredHint]]:
        """Search for many vectors at once: what ``search`` finds for each, sooner.

        Args:
            vectors: The queries, shape ``[num_queries, dimension]``; may be none.
            limit: How many hints a query at most, at least 1.
            states: In which states.

        Returns:
            One list a query, in order.
        """
        ...

    async def all(self, states: Sequence[HintState] = ADMITTED) -> list[Hint]:
        """Every stored hint in some states, in the order in which they were added."""
        ...

    async def revisions(self) -> list[Revision]:
        """Every change, the first one first."""
        ...

    async def as_of(self, revision: int) -> list[Hint]:
        """The knowledge base as a revision left it, in all states, in the order of adding.

        Args:
            revision: Its number; 0 is the empty knowledge base.

        Raises:
            StoreError: If there is no such revision.
        """
        ...

    async def roll_back(self, revision: int) -> int:
        """Make the knowledge base again what a revision left it; itself a revision.

        Hints get back the state, evidence and links they had, with a version of their own. Hints
        that were added later are retired.

        Args:
            revision: Its number; 0 retires everything.

        Returns:
            The number of the new revision.

        Raises:
            StoreError: If there is no such revision.
        """
        ...
