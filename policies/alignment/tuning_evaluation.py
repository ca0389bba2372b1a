"""Compares a tuned model with its base, on pairs that neither was tuned on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch.nn import functional

from agentrec.embedded_model.decoding import MAX_WORDS, AnswerGrammar, CachedDecoding
from agentrec.embedded_model.prompt_parser import CompactPrompt
from agentrec.embedded_model.text_grammar import HINT_END, factor_token
from agentrec.embedded_model.vocabulary import END, PAD, SPECIAL, Vocabulary
from agentrec.errors import InputError
from agentrec.evaluation.intervals import Interval, bootstrap_intervals
from agentrec.policies.alignment.models import OpenedModel, open_tuned
from agentrec.policies.alignment.pair_encoding import Example, encode_pairs, no_usable_pair
from agentrec.preferences import PreferencePair

_BATCH = 16
_SAMPLED_AT_ONCE = 64


@torch.inference_mode()
def log_probabilities(
    model: OpenedModel,
    examples: Sequence[Example],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> npt.NDArray[np.float64]:
    """Compute the log-probability of each chosen and each rejected text, given its prompt.

    Args:
        model: The model; the computation runs on its network's device.
        examples: The pairs.
        on_progress: Called with pairs done and in all; raising in it stops.

    Returns:
        Nats, shape ``[num_examples, 2]``: the chosen, the rejected text.
    """
    found = np.zeros((len(examples), 2))
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        rows = [
            (one.prompt_ids, text) for one in batch for text in (one.chosen_ids, one.rejected_ids)
        ]
        found[start : start + len(batch)] = _summed(model, rows).reshape(-1, 2)
        on_progress(start + len(batch), len(examples))
    return found


def _summed(
    model: OpenedModel, rows: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> npt.NDArray[np.float64]:
    width = max(len(prompt) + len(text) for prompt, text in rows)
    device = model.network.device
    tokens = torch.zeros((len(rows), width), dtype=torch.long)
    attended, said = torch.zeros_like(tokens), torch.zeros_like(tokens)
    for row, (prompt, text) in enumerate(rows):
        length = len(prompt) + len(text)
        tokens[row, :length] = torch.tensor([*prompt, *text])
        attended[row, :length] = 1
        said[row, len(prompt) : length] = 1
    tokens, attended, said = tokens.to(device), attended.to(device), said.to(device)
    logits = model.network(input_ids=tokens, attention_mask=attended, use_cache=False).logits
    # Prompts and padding may hold tokens that the embedded model's texts cannot: none is read.
    wanted = torch.where(said == 1, tokens, 0)[:, 1:]
    looked_up = functional.log_softmax(logits[:, :-1].float(), dim=-1).gather(2, wanted[..., None])
    summed = (looked_up[..., 0] * said[:, 1:]).sum(dim=1)
    values: npt.NDArray[np.float64] = summed.double().cpu().numpy()
    return values


@torch.inference_mode()
def well_formed_share(
    model: OpenedModel, prompts: Sequence[Sequence[int]], temperature: float, seed: int
) -> float:
    """Share of lines that have the form of a preference without being forced to.

    As a chat model, the embedded model may only write what the form allows. Here it is free, which
    shows whether tuning made it forget the form.

    Args:
        model: An embedded model.
        prompts: Tokens of prompts that ask for a preference, at least one.
        temperature: Of the sampling, above 0.
        seed: Same seed, same texts.

    Returns:
        0 to 1.

    Raises:
        ValueError: If it is not an embedded model.
    """
    if model.embedded is None:
        raise ValueError("only the embedded model's form is known")
    vocabulary = model.embedded.vocabulary
    generator = torch.Generator().manual_seed(seed)
    good = lines = 0
    for start in range(0, len(prompts), _SAMPLED_AT_ONCE):
        batch = prompts[start : start + _SAMPLED_AT_ONCE]
        for prompt, text in zip(
            batch, _sampled(model, batch, vocabulary, temperature, generator), strict=True
        ):
            counted = _lines_in_form(prompt, text, vocabulary)
            good, lines = good + counted[0], lines + counted[1]
    return good / lines


def _sampled(
    model: OpenedModel,
    prompts: Sequence[Sequence[int]],
    vocabulary: Vocabulary,
    temperature: float,
    generator: torch.Generator,
) -> list[list[int]]:
    """Sample a text for each prompt, with its end mark if it reached one."""
    end = vocabulary.ids[END]
    barred = [token for token in range(len(SPECIAL)) if token != end]
    decoding = CachedDecoding(model.network, prompts, vocabulary.ids[PAD])
    texts: list[list[int]] = [[] for _ in prompts]
    for _ in range(MAX_WORDS):
        logits = model.network.lm_head(decoding.states()).float() / temperature
        logits[:, barred] = -torch.inf
        step = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).tolist()
        for text, (token,) in zip(texts, step, strict=True):
            if end not in text:
                text.append(token)
        if all(end in text for text in texts):
            break
        decoding.add(step)
    return texts


def _lines_in_form(
    prompt: Sequence[int], text: Sequence[int], vocabulary: Vocabulary
) -> tuple[int, int]:
    """Count the lines of a text that have the form, and all lines, at least one."""
    names = {vocabulary.ids[factor_token(factor)] for factor in vocabulary.factors}
    marked, ends = vocabulary.ids["<factors>"], vocabulary.ids[HINT_END]
    asked = prompt[prompt.index(marked) + 1 :] if marked in prompt else ()
    phrases = frozenset(vocabulary.ids[w] for w in vocabulary.words if "_" in w) - names
    sections = {"<factors>": tuple(token for token in asked if token in names)}
    form = AnswerGrammar(CompactPrompt("preference", sections, (), (), 1), vocabulary, phrases)
    written = [token for token in text if token != vocabulary.ids[END]]
    kept: list[int] = []
    good = lines = 0
    while written:
        length = written.index(ends) + 1 if ends in written else len(written)
        line, written = written[:length], written[length:]
        lines += 1
        if line[-1] == ends and _allowed(form, kept, line):
            # A line without the form is skipped: it must not spoil those behind it.
            kept, good = kept + line, good + 1
    return good, max(1, lines)


def _allowed(form: AnswerGrammar, before: list[int], line: list[int]) -> bool:
    for at, token in enumerate(line):
        allowed = form.allowed(before + line[:at])
        if allowed is not None and token not in allowed:
            return False
    return True


_MOST_TOKENS = 8192
_MOST_PROMPTS = 256


class TuningEvaluation(BaseModel):
    """A tuned model compared with its base.

    Means are over sessions, each the mean of its pairs, so that a session with many pairs counts
    once; intervals are a 95 % bootstrap over sessions.

    Attributes:
        pairs: How many pairs were compared.
        sessions: How many sessions they are about.
        left_out: How many pairs could not be encoded in the models' tokens, by reason.
        accuracy: Share of pairs whose chosen text gained more log-probability than the rejected
            one; half a pair where both gained the same. 0.5 is chance.
        margin: Gain of the chosen text minus gain of the rejected one, times ``beta``: the
            reward margin of DPO.
        chosen_gain: Log-probability of the chosen text, tuned minus base, in nats.
        rejected_gain: The same of the rejected text.
        base_accuracy: Share of pairs whose chosen text is the more probable one to the base.
        in_form: Share of lines of freely sampled texts that have the form of a preference, of the
            base and of the tuned model; ``None`` for models whose form is not known.
    """

    model_config = ConfigDict(frozen=True)

    pairs: int
    sessions: int
    left_out: Mapping[str, int]
    accuracy: Interval
    margin: Interval
    chosen_gain: Interval
    rejected_gain: Interval
    base_accuracy: Interval
    in_form: tuple[float, float] | None = None


def judge(
    pairs: Sequence[PreferencePair],
    base: Path | str,
    tuned: Path | str,
    *,
    beta: float = 0.1,
    temperature: float = 1.0,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TuningEvaluation:
    """Compare a tuned model with its base.

    Args:
        pairs: Pairs that neither was tuned on.
        base: Folder of a model or ``hub:OWNER/NAME``.
        tuned: The same of the tuned one, or the folder of an adapter.
        beta: What the margin is multiplied by, above 0: as in training.
        temperature: Of the free sampling, above 0.
        seed: Of the bootstrap and of the sampling.
        on_progress: Called with how much is done and in all; raising in it stops.

    Raises:
        InputError: If a model cannot be used, the two do not have the same tokens, or no pair can
            be encoded in them.
    """
    first, second = open_tuned(base), open_tuned(tuned)
    most = min(first.most_tokens, second.most_tokens, _MOST_TOKENS)
    examples = encode_pairs(pairs, first.token_ids, most)
    if encode_pairs(pairs, second.token_ids, most) != examples:
        raise InputError(
            "encodes the pairs in other tokens than the first model", file=second.folder
        )
    if not examples.usable:
        raise no_usable_pair(examples)
    total = 2 * len(examples.usable)
    before = log_probabilities(first, examples.usable, lambda done, half: on_progress(done, total))
    after = log_probabilities(
        second, examples.usable, lambda done, half: on_progress(half + done, total)
    )
    gained = after - before
    margins = gained[:, 0] - gained[:, 1]
    columns = np.stack(
        [
            _above(margins),
            beta * margins,
            gained[:, 0],
            gained[:, 1],
            _above(before[:, 0] - before[:, 1]),
        ],
        axis=1,
    )
    sessions = [example.session_id for example in examples.usable]
    rows = np.unique(sessions, return_inverse=True)[1]
    by_session = np.stack([columns[rows == at].mean(axis=0) for at in range(rows.max() + 1)])
    intervals = bootstrap_intervals(by_session, seed=seed)
    prompts = list(dict.fromkeys(example.prompt_ids for example in examples.usable))
    return TuningEvaluation(
        pairs=len(examples.usable),
        sessions=len(by_session),
        left_out=examples.left_out,
        accuracy=intervals[0],
        margin=intervals[1],
        chosen_gain=intervals[2],
        rejected_gain=intervals[3],
        base_accuracy=intervals[4],
        in_form=_in_form(first, second, prompts[:_MOST_PROMPTS], temperature, seed),
    )


def _in_form(
    first: OpenedModel,
    second: OpenedModel,
    prompts: Sequence[Sequence[int]],
    temperature: float,
    seed: int,
) -> tuple[float, float] | None:
    if first.embedded is None or second.embedded is None:
        return None
    return (
        well_formed_share(first, prompts, temperature, seed),
        well_formed_share(second, prompts, temperature, seed),
    )


def _above(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """1 above 0, 0 below, half at 0."""
    return (np.sign(values) + 1) / 2
