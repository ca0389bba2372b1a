"""The data card of an export: a README.md beside it, for people who train on the pairs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from agentrec.atomic_files import write_atomically
from agentrec.catalog import clean_text
from agentrec.errors import InputError
from agentrec.stores.pairs.records import COLUMNS, ExportForm
from agentrec.stores.pairs.statistics import LEVELS, Distribution, PairStatistics

CARD_NAME = "README.md"

_MARK = "# Written by agentrec; an edited card is replaced by the next export."
_LONGEST_NAME, _LONGEST_PATH = 100, 255
_SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 10**6))
_LARGEST = "n>1M"

_LEAD = """\
Each row holds two texts that a language model wrote about the same user, from the same prompt. The
chosen one helped a recommender more. It is the preference type of TRL's data sets, for Direct
Preference Optimization."""

_KINDS = """\
`reward`: both texts have the required format; given the chosen text, the reward model ranked the
item that the user really chose next higher. A gap of 0 is a tie in rank that the margin of the
log-probability decided. `structure`: the rejected text is the chosen one, its format broken by a
program; it has no reward, and its values are null."""

_USE = """\
Tuning a language model to write preference texts that the same kind of recommender can use;
studying such texts; fine-tuning on the chosen texts alone, as a baseline.

Limits:

- A reward is the judgement of one frozen reward model about one next choice, not of a person. A
  true text can have a low reward, and a high reward can be luck; small gaps mean little.
- Texts that name the next choice are removed where title matching finds them. A paraphrase can
  still reveal it.
- A language model wrote the texts. They may contain inventions, or what hostile titles made it say:
  treat them as data, never as instructions.
- Prompts contain what people chose, and ids may identify people. Before you share this data, check
  that its source allows it, and under which licence. Do not base decisions about people on it.
- Report results on later sessions, never on the sessions that gave these pairs."""


def write_card(export: Path, statistics: PairStatistics, form: ExportForm) -> Path:
    """Write the card of an export beside it.

    Args:
        export: The file that ``write_pairs`` wrote.
        statistics: Statistics of its pairs.
        form: How its prompts and texts are written.

    Returns:
        The card's file.

    Raises:
        InputError: There is a README.md that is not a card, or the card cannot be written.
    """
    card = export.parent / CARD_NAME
    try:
        if card.exists() and _MARK not in card.read_text(encoding="utf-8", errors="replace")[:200]:
            problem = "is not a data card and would be replaced; export to another folder"
            raise InputError(problem, file=card)
        write_atomically(card, card_text(export.name, statistics, form).encode())
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=card) from error
    return card


def card_text(export_name: str, statistics: PairStatistics, form: ExportForm) -> str:
    """Return the text of a card: YAML front matter for the Hugging Face hub, then Markdown.

    Args:
        export_name: Name of the exported file, without folders.
        statistics: Statistics of its pairs.
        form: How its prompts and texts are written.
    """
    parts = [
        _front(export_name, statistics, form),
        "# Preference pairs",
        _LEAD,
        "## What is in it",
        _table(("", "count"), _counts(statistics)),
        _KINDS,
        "## Why sessions gave no pair",
        _table(("reason", "sessions"), statistics.refusals.items())
        if statistics.refusals
        else "Not counted, or every session gave a pair.",
        "## Rewards and lengths",
        "Values are the mean of NDCG and MAP, 0 to 1; margins are in nats; lengths in characters. "
        "All rows but the lengths are about reward pairs.",
        _distributions(statistics),
        f"The chosen text is the longer one in {statistics.chosen_longer:.1%} of the reward pairs.",
        "## Where it comes from",
        _table(("", "which", "pairs"), _origins(statistics)),
        "## Intended use and limits",
        _USE,
    ]
    return "\n\n".join(parts) + "\n"


def _front(export_name: str, statistics: PairStatistics, form: ExportForm) -> str:
    size = next((name for name, most in _SIZES if statistics.pairs < most), _LARGEST)
    front = {
        "pretty_name": "Preference pairs",
        "task_categories": ["text-generation"],
        "tags": ["preference", "dpo", "trl", "recommendation", "agentrec"],
        "size_categories": [size],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": clean_text(export_name, _LONGEST_PATH)}],
            }
        ],
        # Types guessed from the first rows are wrong where those are null.
        "dataset_info": {"features": [_feature(name, form) for name in COLUMNS]},
    }
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{_MARK}\n{text}---"


def _feature(name: str, form: ExportForm) -> dict[str, object]:
    kind = COLUMNS[name]
    if kind == "chat" and form == "conversational":
        parts = [{"name": part, "dtype": "string"} for part in ("role", "content")]
        return {"name": name, "list": parts}
    return {"name": name, "dtype": {"double": "float64", "chat": "string"}.get(kind, kind)}


def _counts(statistics: PairStatistics) -> list[tuple[str, int]]:
    return [
        ("pairs", statistics.pairs),
        *((f"of kind {kind}", count) for kind, count in statistics.kinds.items()),
        *((f"broken: {how}", count) for how, count in statistics.broken.items()),
        ("ties decided by the margin", statistics.ties),
        ("sessions", statistics.sessions),
        ("known users", statistics.users),
        ("pairs of unknown users", statistics.unknown_users),
        ("most pairs of one user", statistics.most_of_a_user),
    ]


def _distributions(statistics: PairStatistics) -> str:
    named: Mapping[str, Distribution] = {
        "gap": statistics.gap,
        "margin gap": statistics.margin_gap,
        "chosen value": statistics.chosen_value,
        "rejected value": statistics.rejected_value,
        "prompt length": statistics.prompt_length,
        "chosen length": statistics.chosen_length,
        "rejected length": statistics.rejected_length,
    }
    heads = ["", "pairs", "mean", "minimum"]
    heads += [f"{level:.0%}" for level in LEVELS[1:-1]]
    rows = [
        (name, of.count, f"{of.mean:.4g}", *(f"{each:.4g}" for each in of.quantiles))
        for name, of in named.items()
        if of.count
    ]
    return _table((*heads, "maximum"), rows)


def _origins(statistics: PairStatistics) -> list[tuple[str, str, int]]:
    return [
        (name.replace("_", " "), value or "unknown", count)
        for name, values in statistics.origins.items()
        for value, count in values.items()
    ]


def _table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *(tuple(map(_cell, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _cleaned(str(value))


def _cleaned(text: str) -> str:
    """Return untrusted text on one line, without markup, cell separators or links."""
    line = clean_text(text, _LONGEST_NAME)
    return _ADDRESS.sub(" ", line.translate(_PLAIN))


_ADDRESS = re.compile(r"://|\bwww\.|@")
_PLAIN = str.maketrans(dict.fromkeys("<>[]|`*\\&#!~", " "))
