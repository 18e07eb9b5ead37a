"""Metrics of text: exact match, and accuracy over a case's choices, by what was said or by what the model finds likely."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from benchmark.errors import Problem
from benchmark.metrics import Item, Measure, Measured
from benchmark.metrics.choice import name_problems
from benchmark.metrics.text.choices import AnswerAs, Take, choice_meant, choice_of, extracted, right_choices
from benchmark.model import Kind
from benchmark.model.language.likelihood import offered
from benchmark.records import Case, Choice

LABELS = string.ascii_uppercase
WEIGHTS: dict[str, Callable[[Choice], float]] = {
    "acc": lambda choice: choice.log_likelihood,
    "acc_norm": lambda choice: choice.log_likelihood / len(choice.text),
    "acc_bytes": lambda choice: choice.log_likelihood / len(choice.text.encode()),
    "acc_perplexity": lambda choice: choice.log_likelihood / choice.tokens,
}
NAMES = ("exact_match", "choice_accuracy", *WEIGHTS)
Score = float | Measured | Exception


@dataclass
class Text:
    """Six measures, each 0 or 1. Of a case's fields, `answer_field` holds the right answer, `choices_field` the choices.

    An answer is text, or with choices also an index from 0 or a label (a letter of `labels`); a list of answers are all
    right. `extract` is a regular expression that finds the answer in the text (its first group that is not empty); `take`
    says which of several places counts. `ignore_*` say what does not count when texts are compared.

    A text in which no answer is recognised is wrong, for failing to answer is the model's fault. A prediction without
    log-likelihoods is an error of the four measures that need them.

    Source: EleutherAI/lm-evaluation-harness, lm_eval/api/task.py (multiple_choice: acc, acc_norm, acc_bytes),
    lm_eval/api/metrics.py (exact_match) and lm_eval/filters/extraction.py (regex).
    """

    names: list[str] | None = None
    answer_field: str = "answer"
    choices_field: str = "choices"
    answer_as: AnswerAs = "auto"
    labels: str = LABELS
    extract: str | None = None
    take: Take = "first"
    ignore_case: bool = False
    ignore_punctuation: bool = False
    ignore_numbers: bool = False
    ignore_space: bool = False
    batch_size: Annotated[int, Meta(ge=1)] = 64

    version: ClassVar[str] = "1"
    execution_only: ClassVar[tuple[str, ...]] = ("names", "batch_size")
    accepts: ClassVar[tuple[Kind, ...]] = ("text",)
    decodes: ClassVar[bool] = False

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each unknown measure, a pattern that is none, and labels that are not one letter each."""
        yield from name_problems("text", self.names, NAMES)
        if not self.labels or len(set(self.labels)) != len(self.labels) or any(c.isspace() for c in self.labels):
            yield Problem("metrics.text.labels", "is no row of different characters", repr(self.labels), fix="ABCDE")
        try:
            re.compile(self.extract or "")
        except re.error as error:
            wrong = f"can't be read as a regular expression: {error}"
            yield Problem("metrics.text.extract", wrong, self.extract or "", "what Python's re module reads")

    def review(self, cases: Iterable[Case], samples: int) -> Iterator[Problem | str]:
        """Yield a problem if it can't be told of some cases what is right."""
        count, first, total = 0, "", 0
        for case in cases:
            total += 1
            try:
                self._right(case)
            except KeyError:
                continue  # a case without the field: the plan says so, where a measure needs it
            except ValueError as error:
                count, first = count + 1, first or f"`{case.id}`: {error}"
        if count:
            wrong = f"can't tell the right answer of {count} of {total} cases, the first: {first}"
            fix = "metrics.text.answer_field=, choices_field= and answer_as= say where it stands and how"
            yield Problem("metrics.text", wrong, fix=fix)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The chosen measures, in the order of NAMES."""
        answer, choices = f"fields.{self.answer_field}", f"fields.{self.choices_field}"
        return tuple(
            Measure(name, "higher", 0, 1, needs=(answer,) if name == "exact_match" else (choices, answer))
            for name in NAMES
            if self.names is None or name in self.names
        )

    def load(self, device: str) -> None:
        """Nothing to load."""

    def score(self, items: Sequence[Item]) -> list[Mapping[str, Score]]:
        """Return {measure: 0 or 1} per item. Raises: ValueError if it can't be told what is right."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Mapping[str, Score]:
        wanted = [measure.name for measure in self.measures]
        text = item.prediction.text or ""
        right, targets = self._right(item.case)
        values: dict[str, Score] = {}
        if "exact_match" in wanted:
            values["exact_match"] = self._exact_match(text, targets)
        if self.choices_field not in item.case.fields:
            return values
        texts = offered(item.case, self.choices_field)
        if "choice_accuracy" in wanted:
            values["choice_accuracy"] = self._choice_accuracy(text, texts, right)
        for name in [name for name in wanted if name in WEIGHTS]:
            values[name] = accuracy(item.prediction.choices, texts, right, WEIGHTS[name])
        return values

    def _right(self, case: Case) -> tuple[list[int], list[str]]:
        """Return the indices of the right choices (none without choices), and the texts that match exactly."""
        answer = case.fields[self.answer_field]
        if self.choices_field in case.fields:
            texts = offered(case, self.choices_field)
            if len(texts) > len(self.labels):
                raise ValueError(f"it has {len(texts)} choices, more than metrics.text.labels={self.labels}")
            right = right_choices(answer, texts, self.labels, self.answer_as)
            return right, [name for index in right for name in (texts[index], self.labels[index])]
        targets = answer if isinstance(answer, (list, tuple)) else [answer]
        if not targets or any(not isinstance(one, (str, int, float)) for one in targets):
            raise ValueError(f"its answer {answer!r} is no text, number or list of them")
        return [], [str(one) for one in targets]

    def _exact_match(self, text: str, targets: Sequence[str]) -> Measured:
        """Return whether the text, or what is extracted from it, is one of the targets."""
        said = extracted(text, self.extract, self.take) if self.extract else text.strip()
        hit = said is not None and self._plain(said) in map(self._plain, targets)
        return Measured(float(hit), {"extracted": said, "answers": list(targets)})

    def _choice_accuracy(self, text: str, texts: Sequence[str], right: Sequence[int]) -> Measured:
        if self.extract:
            said = extracted(text, self.extract, self.take)
            index, by = (None if said is None else choice_of(said, texts, self.labels)), "extract"
        else:
            (index, by), said = choice_meant(text, texts, self.labels, self.take), None
        details: dict[str, Any] = {"predicted": index, "right": list(right), "by": by if index is not None else None}
        return Measured(float(index in right), details | ({"extracted": said} if self.extract else {}))

    def _plain(self, text: str) -> str:
        """Return the text without what does not count; white space at its ends never does."""
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            text = "".join(c for c in text if c not in string.punctuation and unicodedata.category(c)[0] != "P")
        if self.ignore_numbers:
            text = "".join(c for c in text if not c.isdecimal())
        return "".join(text.split()) if self.ignore_space else text.strip()


def accuracy(
    choices: Sequence[Choice], texts: Sequence[str], right: Sequence[int], weight: Callable[[Choice], float]
) -> Measured | ValueError:
    """Return whether the choice that weighs most (the first of equal ones) is right.

    `choices` are the prediction's, `texts` the case's own. Returns ValueError where the prediction lacks them.
    """
    if [choice.text for choice in choices] != list(texts):
        given = f"log-likelihoods of {len(choices)} other choices" if choices else "no log-likelihoods of the choices"
        return ValueError(f"the prediction has {given}: use a model that gives them, such as model=causal_lm")
    weights = [weight(choice) for choice in choices]
    predicted = weights.index(max(weights))
    return Measured(float(predicted in right), {"predicted": predicted, "right": list(right)})
