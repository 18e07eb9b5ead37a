"""What the two passes of the eval stage share: what is to be scored, what is wanted, and how a result becomes records."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from benchmark.clip import Clip
from benchmark.config import Frozen
from benchmark.guard import Failure, in_words
from benchmark.ledger import Deaths, Ledger
from benchmark.metrics import Item, Measured
from benchmark.records import Case, Key, Line, Prediction, Score
from benchmark.store import CaseFile, Store, prediction_digest

SET_KEY = Key("", 0)  # stands for the whole set in a journal's start lines


class Scoring(msgspec.Struct, frozen=True):
    """What is to be scored, and by which metrics options: one prediction, or (without an item) the whole set."""

    key: Key
    case_id: str | None
    category: str
    sha256: str
    options: tuple[str, ...]
    item: Item | None = None


@dataclass
class Context:
    """What both passes of the eval stage look at."""

    store: Store
    frozen: Frozen
    ledger: Ledger
    made: Mapping[tuple, Prediction]
    worker: str
    is_dead: Callable[[str], object]
    cases: CaseFile = field(init=False)

    def __post_init__(self) -> None:
        self.cases = self.store.cases()
        self._fingerprints = self.frozen.score_fingerprints
        metrics = self.frozen.metrics.items()
        self._names = {option: [(m.name, f"{option}/{m.name}") for m in plan.measures] for option, plan in metrics}

    def item(self, case: Case, prediction: Prediction) -> Item:
        files = {role: self.store.folder / path for role, path in prediction.files.items()}
        return Item(case, prediction, Clip(files, prediction.text))

    def check(self, item: Item) -> None:
        """Raise ValueError unless the output is the one that was recorded: a score is of that one alone."""
        try:
            found = prediction_digest(item.clip.files, item.clip.text, item.prediction.choices)
        except FileNotFoundError:
            found = ""
        if found != item.prediction.sha256:
            what = "has changed" if found else "is gone"
            paths = ", ".join(item.prediction.files.values()) or "its text"
            kept = self.frozen.keep_media
            why = "" if found or kept == "all" else f", removed once scored (keep_media={kept})"
            raise ValueError(
                f"the output ({paths}) {what} since it was recorded{why}; redo=[infer] makes outputs again"
            )

    def wants(self, option: str, case_id: str | None, sample: int, sha256: str) -> bool:
        """Return whether any number of a metrics option is still to be had of this prediction."""
        turn, states = self.frozen.metrics[option].turn, self.ledger.states
        return any(turn.wants(states.get((case_id, sample, metric)), sha256) for _, metric in self._names[option])

    def deaths(self, units: Sequence[Scoring]) -> dict[Key, Deaths]:
        """Return which of the units lives died of."""
        return self.ledger.deaths(((unit.key, self._recorded(unit)) for unit in units), self.is_dead)

    def _recorded(self, unit: Scoring) -> int:
        states, sample = self.ledger.states, unit.key.sample
        units = ((unit.case_id, sample, metric) for option in unit.options for _, metric in self._names[option])
        return max((state.last for unit in units if (state := states.get(unit))), default=-1)

    def scores(self, option: str, unit: Scoring, result: Any) -> list[Line]:
        """Return a Score per measure of the option, made from the metric's result or its failure."""
        attempt, fingerprint, records = self.frozen.metrics[option].turn.attempt, self._fingerprints[option], []
        for name, metric in self._names[option]:
            value, details, error = _value(result, name)
            records.append(
                Score(
                    case_id=unit.case_id,
                    sample=unit.key.sample,
                    category=unit.category,
                    metric=metric,
                    status="failed" if error else "ok",
                    value=value,
                    error=error,
                    details=details,
                    prediction_sha256=unit.sha256,
                    fingerprint=fingerprint,
                    attempt=attempt,
                    worker=self.worker,
                )
            )
        return records  # type: ignore[return-value]

    def failed(self, unit: Scoring, error: str) -> list[Line]:
        """Return the scores of a unit that failed as a whole."""
        failure = Failure(error)
        return [record for option in unit.options for record in self.scores(option, unit, failure)]


def _value(result: Any, name: str) -> tuple[float | None, dict[str, Any], str | None]:
    if isinstance(result, Failure):
        return None, {}, result.error
    if not isinstance(result, Mapping):
        return None, {}, f"TypeError: the metric gave {type(result).__name__}, not a value per measure"
    if name not in result:
        return None, {}, f"ValueError: the metric gave no {name}; it gave {', '.join(map(str, result)) or 'nothing'}"
    given: Any = result[name]
    if isinstance(given, Exception):
        return None, {}, in_words(given)
    details: dict[str, Any] = {}
    try:
        if isinstance(given, Measured):
            given, details = given.value, _plain(given.details)
        value = float(given)
    except (TypeError, ValueError, OverflowError) as error:
        return None, {}, f"{type(error).__name__}: {name} is no number with details to be recorded: {error}"
    if not math.isfinite(value):
        return None, details, f"ValueError: the metric gave {value}, which is no finite number"
    return value, details, None


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details as JSON can hold them. Raises TypeError for what it can't, arrays aside."""
    return msgspec.json.decode(msgspec.json.encode(dict(details), enc_hook=_listed)) if details else {}


def _listed(value: Any) -> Any:
    if not hasattr(value, "tolist"):
        raise TypeError(f"details hold numbers and text, not {type(value).__name__}")
    return value.tolist()
