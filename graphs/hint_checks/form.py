"""The form of a hint: one line, a few sentences, visible letters, no markup and no code."""

from __future__ import annotations

import html
import re
import unicodedata

from agentrec.graphs.hint_checks.normalization import (
    LOOK_ALIKE_SCRIPTS,
    is_invisible,
    script_of,
)

MAX_SENTENCES = 3

_LEAST_LETTERS = 0.4
_MOST_SYMBOLS = 4
_LONGEST_WORD = 50
_MOST_SINGLE = 4
_LEAST_SPACELESS = 4
_MOST_MARKS = 3

# Much of this has a use somewhere, but not in a sentence of advice.
_MARKUP = re.compile(
    r"</?[^\W\d]|<[!?|/]|[\u2039\u276e\u02c2]\s*/?\s*[^\W\d][^\u203a\u276f\u02c3]{0,40}[\u203a\u276f\u02c3]"
    r"|/>|[{}\\]|\]\s?\(|\[\s*[\"'\[/]|\[/?[A-Z_]{3,}\]|\]\]|<<|>>|\|\|"
    r"|```|~~~|`[^`]+`|\*\*|__|(?:^|\s)#{2,}|^\s*#\s|^\s*[>|]|\|\s*-{2,}|-{3,}|={3,}|[|>]$"
    r"|%[0-9A-F]{2}|&(?:lt|gt|#0*6[02]|#x0*3[ce]);|/\*|\*/|<!--|-->"
    r"|\w\([\"')]|\w\s*=\s*[\"'\w\[]|;\s*$|\b(?:import|def|class|function|return|lambda)\s+\w+\s*[(:;]"
    r"|\b(?:select\s+[\w*,\s]{1,40}\sfrom|drop\s+table|rm\s+-rf|sudo\s)\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\w://|\bwww\.|\b(?:mailto|javascript|data|file|https?|ftp):\S|[^\s@]@[^\s@.]+\.\w"
    r"|\b[\w-]{2,}\.(?:com|org|net|io|ai|co|info|biz|app|dev|xyz|ru|cn|de|fr|uk)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"[^\W\d_]{3}[\"')\u201d\u2019]*[.!?]+[\"')\u201d\u2019]*\s+\S|[\u3002\uff01\uff1f]\s*\S"
)
_LETTER_BY_LETTER = re.compile(
    rf"(?<![^\W_])(?:[^\W\d_][\W_]{{1,3}}){{{_MOST_SINGLE - 1}}}[^\W\d_](?![^\W_])"
)
_LINE_BREAK = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def holds_control(text: str) -> bool:
    """Return whether a text holds invisible characters, except line breaks and emoji variants."""
    if text.isascii() and text.isprintable():
        return False
    for before, char in zip(" " + text, text, strict=False):
        if not is_invisible(char) or _LINE_BREAK.match(char):
            continue
        # A mark behind a symbol selects its colour form.
        if char != "\ufe0f" or unicodedata.category(before) not in {"So", "Sm"}:
            return True
    return False


def holds_markup(text: str) -> bool:
    """Return whether a text holds markup, code, or an address.

    Full-width forms and character references count as what they stand for, except the apostrophe,
    which some models write as a reference.
    """
    plain = unicodedata.normalize("NFKC", text.strip())
    return any(
        _MARKUP.search(form) or _ADDRESS.search(form)
        for form in {plain, html.unescape(plain.replace("&#39;", "'")).strip()}
    )


def is_sentence(text: str) -> bool:
    """Return whether a text is one line of a few sentences, mostly letters, in whole words."""
    line = unicodedata.normalize("NFC", text.strip())
    if _LINE_BREAK.search(line) or _LETTER_BY_LETTER.search(line):
        return False
    kinds = [unicodedata.category(char) for char in line if not char.isspace()]
    letters = sum(kind[0] in "LM" for kind in kinds)
    if letters < _LEAST_LETTERS * len(kinds):
        return False
    if sum(kind in {"So", "Sk", "Sc"} for kind in kinds) > _MOST_SYMBOLS:
        return False
    if len(_SENTENCE.findall(line)) >= MAX_SENTENCES or _piled_up(line):
        return False
    words = re.findall(r"[^\W_]+", line)
    scripts = [{script_of(char) for char in word if char.isalpha()} for word in words]
    if any(len(script & set(LOOK_ALIKE_SCRIPTS)) > 1 for script in scripts):
        return False
    if any(script & set(_SPACELESS) for script in scripts):
        return letters >= _LEAST_SPACELESS
    return len(words) > 1 and max(map(len, words)) <= _LONGEST_WORD


def _piled_up(line: str) -> bool:
    """Whether marks are heaped on letters."""
    run = 0
    for char in line:
        run = run + 1 if unicodedata.category(char) == "Mn" else 0
        if run > _MOST_MARKS:
            return True
    return False
