"""Ending a text that comes in pieces before the first of some sequences."""

from __future__ import annotations

from collections.abc import Sequence


class StopSequences:
    """Passes a text on up to the first stop sequence, also one that is split over pieces.

    Args:
        sequences: The texts to stop before; empty ones are ignored.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = [sequence for sequence in sequences if sequence]
        self._held_back = max((len(sequence) for sequence in self._sequences), default=1) - 1
        self._held = ""
        self._stopped = False

    def pass_on(self, piece: str) -> str:
        """What of the text up to and with this piece can be passed on by now."""
        if self._stopped:
            return ""
        text = self._held + piece
        found = [place for s in self._sequences if (place := text.find(s)) >= 0]
        if found:
            self._stopped, self._held = True, ""
            return text[: min(found)]
        # The end may turn out to be the beginning of a sequence.
        cut = max(0, len(text) - self._held_back)
        self._held = text[cut:]
        return text[:cut]

    def rest(self) -> str:
        """What was held back and turned out to be text; call it when the text is over."""
        held, self._held = self._held, ""
        return held
