"""One token an item, one a word, one a section mark: the embedded model's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from agentrec.catalog import Catalog
from agentrec.llm.catalog_lm.aspects import Aspect
from agentrec.llm.catalog_lm.wording import all_words
from agentrec.llm.session_view import as_data

PAD, UNKNOWN, ANSWER, END = "<pad>", "<unk>", "<answer>", "<end>"
TASKS = ("<rank>", "<critique>", "<diagnose>", "<hints>")
SECTIONS = ("<candidates>", "<history>", "<predictions>", "<target>", "<hint>")
SPECIAL = (PAD, UNKNOWN, ANSWER, END, *TASKS, *SECTIONS)


def item_token(label: str) -> str:
    """The token of an item, made of its label."""
    return f"[{label}]"


@dataclass(frozen=True)
class Vocabulary:
    """Token ids: special marks first, then words, then items in catalogue order.

    Attributes:
        words: The words.
        labels: The items' labels, in catalogue order.
    """

    words: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, catalog: Catalog, aspects: Sequence[Aspect]) -> Vocabulary:
        """Collect the tokens for a catalogue."""
        return cls(tuple(all_words(aspects)), tuple(catalog.labels[i] for i in catalog.item_ids))

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.first_item + len(self.labels)

    @property
    def first_item(self) -> int:
        """Token id of the first item."""
        return len(SPECIAL) + len(self.words)

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Ids of marks and words."""
        return {token: place for place, token in enumerate((*SPECIAL, *self.words))}

    @cached_property
    def item_places(self) -> Mapping[str, int]:
        """Catalogue position of each label, written as prompts write it."""
        return {as_data(label): place for place, label in enumerate(self.labels)}

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The same as a Hugging Face tokenizer: ``<rank> <history> [Heat (1995)] ...``."""
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
