"""Reading a hint as words, whatever was done to its letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")
# Kana and Han, which are written without spaces: any sign may be where a title begins.
_SIGN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD_OR_SIGN = re.compile(rf"[{_SIGN}]|[^\W_{_SIGN}]+")

# Letters that decompose to nothing plainer, though people write them plainer.
_PLAINER = str.maketrans(
    {
        "\N{LATIN SMALL LETTER O WITH STROKE}": "o",
        "\N{LATIN SMALL LETTER D WITH STROKE}": "d",
        "\N{LATIN SMALL LETTER L WITH STROKE}": "l",
        "\N{LATIN SMALL LETTER H WITH STROKE}": "h",
        "\N{LATIN SMALL LETTER AE}": "ae",
        "\N{LATIN SMALL LIGATURE OE}": "oe",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "\N{LATIN SMALL LETTER ETH}": "d",
    }
)

# Nothing to see, but no format character by its category either: fillers and joiners.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc")
_CONTROL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SELECTORS = (("\u180b", "\u180f"), ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef"))

# By look, not by sound: Cyrillic, Greek (capitals apart, they look like others), Armenian,
# Cherokee, phonetic letters and small capitals.
_LOOK_ALIKES = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455"
    "\u0501\u051b\u051d\u0475\u04bb\u050d\u04cf\u0433\u0437\u0431\u043f"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405"
    "\u03b1\u03b2\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03b3\u03c9\u03f2"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03f9"
    "\u0585\u0578\u057d\u0570\u0251\u0261\u01dd\u0259\u025b\u026a\u029f\u1d00\u0299\u1d04\u1d05"
    "\u1d07\ua730\u0262\u029c\u1d0a\u1d0b\u1d0d\u0274\u1d0f\u1d18\u0280\ua731\u1d1b\u1d1c\u1d20"
    "\u1d21\u028f\u1d22\u2113\u13a2\u13a1\u13d9\u13aa\u13bb\u13a5",
    "abekmhopctyxijs"
    "dqwvhgirz6n"
    "ABEKMHOPCTYXIJS"
    "abeniKvoptuxywc"
    "ABEZHIKMNOPTYXC"
    "onuhagee3ilabcd"
    "efghjkmnoprstuv"
    "wyzlTRVGHI",
)
# Letters in squares and circles and the halves of flags, which have no plain form of their own.
_BOXED = {
    first + n: chr(ord("a") + n)
    for first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6)
    for n in range(26)
}
_DIGITS = str.maketrans("03456789@$!+\u20ac\u00a3\u00a2", "oeasgtbgasitelc")
_STRAIGHT = {"i": str.maketrans("1|", "ii"), "l": str.maketrans("1|", "ll")}
_MOST_STRAIGHT = 3
_CHUNK = re.compile(r"[\w@$!|+\u20ac\u00a3\u00a2]+")
_TALL_I = re.compile(r"(?<=[a-zA-Z])I(?=[a-z])|(?<=[a-zI])I")

COUNTED = re.compile(r"\d+(?:s|st|nd|rd|th|d|k|mm|am|pm|min|x)?")
"""A number, a decade, an ordinal: nothing that names an item."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word where it stands.

    Attributes:
        word: Its folded form.
        capital: Whether it begins with a capital letter.
        start: Where it begins in the reading.
        end: Where it ends.
    """

    word: str
    capital: bool
    start: int
    end: int


def fold(text: str) -> str:
    """A text without case, accents and the differences between forms of one letter."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_PLAINER)
    return "".join(c for c in plain if not unicodedata.combining(c) and not unseen(c))


def words_of(text: str) -> list[str]:
    """The words of a text, folded."""
    return _WORD.findall(fold(text))


def tokens_of(reading: str) -> list[Token]:
    """The words of a reading with their places; Chinese and Japanese, sign by sign."""
    found = _WORD.finditer(reading) if reading.isascii() else _WORD_OR_SIGN.finditer(reading)
    return [
        Token(word, match[0][0].isupper(), match.start(), match.end())
        for match in found
        for word in _WORD.findall(fold(match[0]))
    ]


def unseen(char: str) -> bool:
    """Whether a character shows nothing: control, format, filler, selector, unassigned."""
    if char < "\x7f":
        return char < " "
    return (
        char in _UNSEEN
        or unicodedata.category(char) in _CONTROL
        or any(first <= char <= last for first, last in _SELECTORS)
    )


def readings_of(text: str) -> tuple[str, ...]:
    """What a text says to an eye: as it is, and with look-alikes and digits read as letters.

    What cannot be seen is left out, white space is single. Texts with nothing to undo, which
    are nearly all, have one reading.
    """
    seen = "".join(" " if c.isspace() else "" if unseen(c) else c for c in text)
    boxed = unicodedata.normalize("NFKC", seen.translate(_BOXED))
    plain = " ".join(boxed.split())
    alike = plain if plain.isascii() else plain.translate(_LOOK_ALIKES)
    undone = [_CHUNK.sub(lambda chunk: _undone(chunk[0]), alike)]
    for _ in range(_MOST_STRAIGHT):
        # Each may be an i or an l by itself; beyond a few, all that are left are taken alike.
        undone = [form.replace("\x01", to, 1) for form in undone for to in "il"]
    undone = [
        form.replace("\x01", to) for form in undone for to in "il" if "\x01" in form
    ] or undone
    return tuple(dict.fromkeys((plain, *undone)))


def digits_as_letters(reading: str) -> Iterator[str]:
    """A reading with numbers, too, read as letters: what nobody does who looks for no title."""
    if any(map(str.isdigit, reading)):
        for straight in _STRAIGHT.values():
            yield reading.translate(_DIGITS).translate(straight)


def _undone(chunk: str) -> str:
    """A run of letters, digits and signs with those that stand for letters turned into them.

    Those that stand for an i or an l become a mark.
    """
    core = chunk.rstrip("!|+")
    if not any(map(str.isalpha, core)) or COUNTED.fullmatch(core):
        return chunk
    letters = core.translate(_DIGITS).replace("1", "\x01").replace("|", "\x01")
    return _TALL_I.sub("\x01", letters) + chunk[len(core) :]
