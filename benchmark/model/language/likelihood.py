"""How likely a causal language model finds each choice of a case, after its prompt.

The conventions are those of lm-evaluation-harness, so that numbers can be compared: white space between prompt and choice
belongs to the choice; both are encoded together and what the prompt alone encodes to is cut off; what is too long loses its
beginning.

Source: EleutherAI/lm-evaluation-harness, lm_eval/api/model.py (encoding of pairs) and lm_eval/models/huggingface.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmark.records import Case, Choice

Encode = Callable[[str], list[int]]


class Pair(NamedTuple):
    """A context and how it may go on, as tokens; both have at least one."""

    context: list[int]
    continuation: list[int]


class Likelihood(NamedTuple):
    """The sum of a continuation's natural log-probabilities, and whether each token is the likeliest at its place."""

    log_likelihood: float
    greedy: bool


def offered(case: Case, field: str) -> list[str]:
    """Return the choices that a case offers, as text. Raises: ValueError if they are no list of different texts."""
    given = case.fields[field]
    if not isinstance(given, (list, tuple)) or not given:
        raise ValueError(f"its field {field} is no list of choices: {given!r}")
    texts = [str(choice) for choice in given if isinstance(choice, (str, int, float))]
    if len(texts) != len(given) or not all(text.strip() for text in texts):
        raise ValueError(f"its choices are not all text: {given!r}")
    if len(set(texts)) != len(texts):
        raise ValueError(f"two of its choices are the same: {given!r}")
    return texts


def encode_pair(prompt: str, continuation: str, encode: Encode, opening: Sequence[int], empty: int | None) -> Pair:
    """Return prompt and continuation as tokens.

    `encode` adds no special tokens. `opening` are those that every text begins with (such as BOS); `empty` is the token that
    stands for an empty prompt where there are none.

    Raises: ValueError if the continuation has no token, or nothing stands for an empty prompt.
    """
    context = prompt.rstrip()
    whole = encode(prompt + continuation)
    before = [*opening, *encode(context)] if context else list(opening)
    tokens = [*opening, *whole][len(before) :]
    if not before:
        if empty is None:
            raise ValueError("the prompt is empty and the tokenizer has neither a BOS nor an EOS token")
        before = [empty]
    if not tokens:
        raise ValueError(f"{continuation!r} has no token of its own after the prompt")
    return Pair(before, tokens)


def likelihoods(
    model: Any, pairs: Sequence[Pair], most_positions: int, batch_size: int, device: Any
) -> list[Likelihood]:
    """Return the log-likelihood of each continuation given its context.

    Rows are padded on the right, where causal attention can't see it, and pairs that differ in their last token only are one
    row. No more than `batch_size` rows of at most `most_positions` tokens are run at once; of longer ones the beginning is
    left out.

    Raises: ValueError for a continuation longer than that, or a log-likelihood that is not finite.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        if len(pair.continuation) > most_positions:
            raise ValueError(f"a choice has {len(pair.continuation)} tokens, more than max_seq_len={most_positions}")
        whole = [*pair.context, *pair.continuation][-(most_positions + 1) :]
        rows.setdefault(tuple(whole[:-1]), []).append(index)
    longest_first = sorted(rows, key=lambda row: (-len(row), row))
    found: dict[int, Likelihood] = {}
    for first in range(0, len(longest_first), batch_size):
        batch = longest_first[first : first + batch_size]
        spans = [max(len(pairs[index].continuation) for index in rows[row]) for row in batch]
        for row, logits in zip(batch, _logits(model, batch, spans, device), strict=True):
            for index in rows[row]:
                found[index] = _likelihood(logits, pairs[index].continuation)
    return [found[index] for index in range(len(pairs))]


def _logits(model: Any, rows: Sequence[tuple[int, ...]], spans: Sequence[int], device: Any) -> list[Any]:
    """Return the logits (span, vocabulary) float32 of the last positions of each row."""
    import torch

    longest = len(rows[0])
    first = min(len(row) - span for row, span in zip(rows, spans, strict=True))
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    keep = {"logits_to_keep": longest - first} if keeps_logits(model) else {}  # a vocabulary is large
    with torch.inference_mode():
        logits = model(input_ids=tokens, attention_mask=mask, use_cache=False, **keep).logits
    shift = longest - logits.shape[1]
    ends = [(len(row) - span - shift, len(row) - shift) for row, span in zip(rows, spans, strict=True)]
    return [logits[index, start:end].float() for index, (start, end) in enumerate(ends)]


def keeps_logits(model: Any) -> bool:
    """Return whether a model can be asked for the logits of the last positions alone; adapters pass it on."""
    import inspect

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters


def _likelihood(logits: Any, continuation: Sequence[int]) -> Likelihood:
    import torch

    tokens = torch.tensor(continuation, device=logits.device)
    scores = logits[-len(continuation) :].log_softmax(dim=-1)
    chosen = scores.gather(1, tokens[:, None])[:, 0]
    total = float(chosen.double().sum())
    if not math.isfinite(total):
        raise ValueError(
            f"the log-likelihood is {total}: the model's numbers overflow; try model.model_kwargs.dtype=float32"
        )
    return Likelihood(total, bool((scores.argmax(dim=-1) == tokens).all()))


def weighed(texts: Sequence[str], pairs: Sequence[Pair], found: Sequence[Likelihood]) -> list[Choice]:
    """Return the choices as records have them."""
    return [
        Choice(text, one.log_likelihood, len(pair.continuation), one.greedy)
        for text, pair, one in zip(texts, pairs, found, strict=True)
    ]
