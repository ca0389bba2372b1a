"""Hints as plain words: without case, accents, look-alike letters and invisible characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from confusable_homoglyphs import confusables

_WORD = re.compile(r"[^\W_]+")
# Kana and Han are written without spaces: a title may begin at any character.
_SIGN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD_OR_SIGN = re.compile(rf"[{_SIGN}]|[^\W_{_SIGN}]+")

# Letters that Unicode does not decompose, although people write them without their marks.
_PLAINER = str.maketrans({"æ": "ae", "œ": "oe"} | dict(zip("øđłħıð", "odlhid", strict=True)))

# Fillers and joiners: invisible, although their category is none of the invisible ones.
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SELECTORS = (("\u180b", "\u180f"), ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef"))

LOOK_ALIKE_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
"""Alphabets whose letters look like one another; no ordinary word mixes them."""

# Letters that only a reader of English takes for Latin ones; Unicode does not list them.
_ALSO_ALIKE = dict(zip("пзηωəԍ", "nznweg", strict=True))
# Letters in squares and circles, small capitals, turned letters, and the halves of flags.
_NAMED_LETTER = re.compile(
    r"(?:REGIONAL INDICATOR SYMBOL|(?:NEGATIVE )?(?:SQUARED|CIRCLED) LATIN|LATIN)\b.*"
    r" (?P<letter>[A-Z])"
)
_DIGITS = str.maketrans("03456789@$!+\u20ac\u00a3\u00a2", "oeasgtbgasitelc")
_STRAIGHT = (str.maketrans("1|", "ii"), str.maketrans("1|", "ll"))
_MOST_STRAIGHT = 3
_CHUNK = re.compile(r"[\w@$!|+\u20ac\u00a3\u00a2]+")
_TALL_I = re.compile(r"(?<=[a-zA-Z])I(?=[a-z])|(?<=[a-zI])I")

COUNTED = re.compile(r"\d+(?:s|st|nd|rd|th|d|k|mm|am|pm|min|x)?")
"""A number, a decade or an ordinal, which names no item."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a text.

    Attributes:
        word: Its folded form.
        capital: Whether it begins with a capital letter.
        start: Index of its first character.
        end: Index behind its last character.
    """

    word: str
    capital: bool
    start: int
    end: int


def fold(text: str) -> str:
    """Return a text without case, accents, and variants of one letter."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_PLAINER)
    return "".join(c for c in plain if not unicodedata.combining(c) and not is_invisible(c))


def words_of(text: str) -> list[str]:
    """Return the folded words of a text."""
    return _WORD.findall(fold(text))


def tokens_of(reading: str) -> list[Token]:
    """Return the words of a reading with their positions; Chinese and Japanese by character."""
    found = _WORD.finditer(reading) if reading.isascii() else _WORD_OR_SIGN.finditer(reading)
    return [
        Token(word, match[0][0].isupper(), match.start(), match.end())
        for match in found
        for word in _WORD.findall(fold(match[0]))
    ]


def is_invisible(char: str) -> bool:
    """Return whether a character shows nothing: control, format, filler, selector, unassigned."""
    if char < "\x7f":
        return char < " "
    return (
        char in _FILLERS
        or unicodedata.category(char) in _INVISIBLE
        or any(first <= char <= last for first, last in _SELECTORS)
    )


def readings_of(text: str) -> tuple[str, ...]:
    """Return what a text looks like to a reader: as it is, and with look-alikes read as letters.

    Invisible characters are removed and white space is single. Nearly all texts have one reading.
    """
    seen = "".join(" " if c.isspace() else "" if is_invisible(c) else c for c in text)
    if not seen.isascii():
        seen = "".join(_named_letter(c) if unicodedata.category(c) == "So" else c for c in seen)
    plain = " ".join(unicodedata.normalize("NFKC", seen).split())
    alike = plain if plain.isascii() else "".join(map(_look_alike, plain))
    undone = [_CHUNK.sub(lambda chunk: _undone(chunk[0]), alike)]
    for _ in range(_MOST_STRAIGHT):
        # Each mark may stand for i or l by itself; behind a few, all that are left are read alike.
        undone = [form.replace("\x01", to, 1) for form in undone for to in "il"]
    undone = [
        form.replace("\x01", to) for form in undone for to in "il" if "\x01" in form
    ] or undone
    return tuple(dict.fromkeys((plain, *undone)))


def readings_of_title(readings: Sequence[str]) -> tuple[str, ...]:
    """Return readings, and those in which whole numbers are read as letters: for a known title."""
    translated = (
        reading.translate(_DIGITS).translate(straight)
        for reading in readings
        if any(map(str.isdigit, reading))
        for straight in _STRAIGHT
    )
    return tuple(dict.fromkeys((*readings, *translated)))


def script_of(char: str) -> str:
    """Return the first word of a character's Unicode name, which is its script for letters."""
    return "LATIN" if char.isascii() else unicodedata.name(char, "").partition(" ")[0]


@lru_cache(maxsize=4096)
def _look_alike(char: str) -> str:
    """Return the ASCII letter that a letter of another alphabet looks like, or the letter."""
    if char.isascii() or not char.isalpha() or script_of(char) not in LOOK_ALIKE_SCRIPTS:
        return char
    # Some small letters look like small capitals.
    for form in (char, char.lower(), char.upper()):
        found = confusables.is_confusable(form, greedy=True)
        letters = [each["c"] for each in found[0]["homoglyphs"]] if found else []
        letters += _ALSO_ALIKE.get(form, "")
        for letter in letters:
            if len(letter) == 1 and letter.isascii() and letter.isalpha():
                # Unicode calls a capital I a small l.
                capital = "I" if letter == "l" else letter.upper()
                return str(capital if char.isupper() else letter.lower())
    return _named_letter(char)


def _named_letter(char: str) -> str:
    named = _NAMED_LETTER.fullmatch(unicodedata.name(char, ""))
    if named is None:
        return char
    return named["letter"] if char.isupper() else named["letter"].lower()


def _undone(chunk: str) -> str:
    """Return a run of letters, digits and signs with those that stand for letters as letters.

    A character that stands for an i or an l becomes a mark.
    """
    core = chunk.rstrip("!|+")
    if not any(map(str.isalpha, core)) or COUNTED.fullmatch(core):
        return chunk
    letters = core.translate(_DIGITS).replace("1", "\x01").replace("|", "\x01")
    return _TALL_I.sub("\x01", letters) + chunk[len(core) :]
