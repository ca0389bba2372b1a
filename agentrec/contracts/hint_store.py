"""The contracts of a hint knowledge base: search, reading, writing and history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrec.hints import ADMITTED, Hint, HintState, Revision, ScoredHint


class HintSearch(Protocol):
    """Finds the hints nearest to a vector; similarity is the cosine.

    Raises ``ValueError`` on a vector of the wrong length or without direction (all zeros, or not
    finite), and ``StoreError`` when the storage fails.
    """

    async def search(
        self, vector: Sequence[float], limit: int, states: Sequence[HintState] = ADMITTED
    ) -> list[ScoredHint]:
        """Find the stored hints nearest to a vector.

        Args:
            vector: The query, ``[dimension]``.
            limit: Maximum number of hints, at least 1.
            states: Only hints in these states.

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
        """Search for many vectors at once, with the results of ``search`` for each.

        Args:
            vectors: The queries, ``[num_queries, dimension]``; may be empty.
            limit: Maximum number of hints for each query, at least 1.
            states: Only hints in these states.

        Returns:
            One list for each query, in order.
        """
        ...


class HintReader(Protocol):
    """Reads stored hints."""

    async def get(self, hint_id: str) -> Hint | None:
        """Return the stored hint with an id, in whatever state, or ``None``."""
        ...

    async def all(self, states: Sequence[HintState] = ADMITTED) -> list[Hint]:
        """Return every stored hint in some states, in the order in which they were added."""
        ...


class HintWriter(Protocol):
    """Adds and changes hints. Nothing is ever deleted; a hint no longer wanted is retired.

    Raises ``ValueError`` on a bad vector and on a hint of another namespace, and ``StoreError``
    when the storage fails.
    """

    async def add(self, hint: Hint, vector: Sequence[float]) -> bool:
        """Store a hint; see ``add_many``.

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
            hints: The hints. ``hint_id`` is the identity: a hint that comes twice is stored once.
                Each is stored with ``version`` 1 and the store's ``embedding``.
            vectors: Their embeddings, ``[num_hints, dimension]``.
            note: What is done, for the list of revisions.

        Returns:
            For each hint whether it was new. If none was, there is no revision.
        """
        ...

    async def change(self, hints: Sequence[Hint], note: str) -> int:
        """Replace stored hints by new versions of them, in one revision.

        Text and vector stay; ``version`` counts up.

        Args:
            hints: The hints, each id once; usually copies of stored hints with another state,
                other evidence, or a link.
            note: What is done, for the list of revisions.

        Returns:
            The number of the revision.

        Raises:
            StoreError: An id is not stored; then nothing is changed.
        """
        ...


class HintHistory(Protocol):
    """Reads the revisions of a knowledge base and goes back to them."""

    async def revisions(self) -> list[Revision]:
        """Return every revision, the first one first."""
        ...

    async def as_of(self, revision: int) -> list[Hint]:
        """Return the hints as a revision left them, in all states, in the order of adding.

        Args:
            revision: Its number; 0 is the empty knowledge base.

        Raises:
            StoreError: There is no such revision.
        """
        ...

    async def roll_back(self, revision: int) -> int:
        """Restore what a revision left; this is itself a revision.

        Hints get back the state, evidence and links they had, with a new version. Hints added
        later are retired.

        Args:
            revision: Its number; 0 retires everything.

        Returns:
            The number of the new revision.

        Raises:
            StoreError: There is no such revision.
        """
        ...


class HintStore(HintSearch, HintReader, HintWriter, HintHistory, Protocol):
    """A whole knowledge base: keeps hints with their vectors, finds the nearest, remembers all.

    Every method may be awaited from an event loop: an implementation moves blocking work to a
    thread. Vectors are 1-D float sequences of one length per store. All hints of a store are of
    one namespace.
    """
