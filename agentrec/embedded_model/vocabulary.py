"""The embedded model's tokens, and the compact prompts made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from agentrec.catalog import Catalog
from agentrec.embedded_model.aspects import Aspect
from agentrec.embedded_model.text_grammar import all_words
from agentrec.llm.prompts.session_view import HISTORY_LENGTH, as_data, capped_label, handle

PAD, UNKNOWN, END, NONE = "<pad>", "<unk>", "<end>", "<none>"
ANSWER, SAY = "<answer>", "<say>"
"""The marks before each position of a ranking, and before a text."""

TASKS = ("<rank>", "<critique>", "<diagnose>", "<hints>", "<preference>", "<question>")
SECTIONS = ("<history>", "<predictions>", "<factors>", "<candidates>", "<hint>")
SPECIAL = (PAD, UNKNOWN, END, NONE, ANSWER, SAY, *TASKS, *SECTIONS)

HISTORY_AT = 2
CANDIDATES_AT = HISTORY_AT + HISTORY_LENGTH + 1
_REFLECTION_TASKS = frozenset({"critique", "diagnose", "hints"})

MAX_CANDIDATES = 100
"""Most candidates of a prompt; each has a handle of its own."""


def item_token(label: str) -> str:
    """Return the token of an item, made of its label."""
    return f"[{label}]"


@dataclass(frozen=True)
class Vocabulary:
    """Token ids: special marks first, then words, then handles, then items in catalogue order.

    Attributes:
        words: The words.
        labels: The items' labels, in catalogue order.
        factors: What preferences can be about, in words.
    """

    words: tuple[str, ...]
    labels: tuple[str, ...]
    factors: tuple[str, ...] = ()

    @classmethod
    def of(cls, catalog: Catalog, aspects: Sequence[Aspect]) -> Vocabulary:
        """Collect the tokens for a catalogue."""
        return cls(
            words=tuple(all_words(aspects)),
            labels=tuple(catalog.labels[i] for i in catalog.item_ids),
            factors=tuple(dict.fromkeys(aspect.factor for aspect in aspects)),
        )

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.first_item + len(self.labels)

    @property
    def first_handle(self) -> int:
        """Token id of the handle C01; words and marks come before it."""
        return len(SPECIAL) + len(self.words)

    @property
    def first_item(self) -> int:
        """Token id of the first item."""
        return self.first_handle + MAX_CANDIDATES

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Ids of marks, words and handles."""
        handles = (handle(index) for index in range(MAX_CANDIDATES))
        return {token: n for n, token in enumerate((*SPECIAL, *self.words, *handles))}

    @cached_property
    def item_index(self) -> Mapping[str, int]:
        """Catalogue index of each label, written as prompts write it."""
        # Where two labels are alike once they are cut, the cut one stands for the first.
        cut = {as_data(capped_label(t)): n for n, t in reversed(list(enumerate(self.labels)))}
        return cut | {as_data(label): index for index, label in enumerate(self.labels)}

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Return the same as a Hugging Face tokenizer: ``<rank> <history> [Heat (1995)] ...``."""
        backend = Tokenizer(WordLevel(dict(self.ids), unk_token=UNKNOWN))
        backend.pre_tokenizer = WhitespaceSplit()
        marks = [AddedToken(mark, special=True, normalized=False) for mark in SPECIAL]
        backend.add_tokens(marks)
        backend.add_tokens([AddedToken(item_token(t), normalized=False) for t in self.labels])
        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=backend,
            pad_token=PAD,
            unk_token=UNKNOWN,
            eos_token=END,
            padding_side="left",
        )


def prompt_tokens(
    task: str, sections: Mapping[str, Sequence[int]], vocabulary: Vocabulary
) -> list[int]:
    """Return the token ids of a compact prompt.

    It is a task mark, ten slots padded in front (the history, or the predictions to reflect on),
    further sections, and the mark where the answer begins. So every part has the position that the
    network expects: slots at 2 to 11, the target after them, candidates from 13 on.

    Args:
        task: A task's name, such as ``rank``.
        sections: Content by section mark. The last ten of the history are taken, the first ten
            predictions and the first hundred candidates. Sections that a task does not use are
            left out: reflection is about predictions and target, not about the history.
        vocabulary: The tokens.
    """
    ids = vocabulary.ids
    if task in _REFLECTION_TASKS:
        mark, slots = "<predictions>", list(sections.get("<predictions>", ()))[:HISTORY_LENGTH]
        rest = list(sections.get("<target>", ()))[:1]
    else:
        mark, slots = "<history>", list(sections.get("<history>", ()))[-HISTORY_LENGTH:]
        rest = []
        for name, most in (("<factors>", None), ("<candidates>", MAX_CANDIDATES), ("<hint>", None)):
            content = sections.get(name, ())
            if content:
                rest += [ids[name], *content[:most]]
    empty = [ids[NONE]] * (HISTORY_LENGTH - len(slots))
    end = ANSWER if task == "rank" else SAY
    return [ids[f"<{task}>"], ids[mark], *empty, *slots, *rest, ids[end]]
