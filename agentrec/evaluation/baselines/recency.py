"""How much each item of a history counts."""

from __future__ import annotations

from collections.abc import Sequence

HISTORY = 10
"""Only this many of the most recent items count."""


def check_decay(decay: float) -> None:
    """Refuse a decay outside (0, 1].

    Raises:
        ValueError: If it is.
    """
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"decay is above 0 and at most 1, not {decay}")


def recent_items(items: Sequence[str], decay: float) -> list[tuple[str, float]]:
    """The last items with their weights.

    Args:
        items: A history, oldest first.
        decay: Weight of an item against the one right after it; 1 weighs all alike.

    Returns:
        Up to ``HISTORY`` pairs, most recent first; the first weight is 1.
    """
    return [(item_id, decay**age) for age, item_id in enumerate(reversed(items[-HISTORY:]))]
