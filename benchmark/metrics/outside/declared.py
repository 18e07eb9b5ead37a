"""Measures that a config declares, of a metric whose code knows nothing of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from benchmark.errors import Problem, closest, some
from benchmark.metrics import Measure, Measured

DIRECTIONS = ("higher", "lower", "neither")
ROUNDING = 1e-6  # that a value may be beyond its range, relative to the bound: such as a cosine in float32
SETTINGS = ("direction", "low", "high", "unit", "needs")


def measures_of(given: Any, where: str) -> tuple[tuple[Measure, ...], list[Problem]]:
    """Return the measures that settings by name describe, and a problem for each that can't be made."""
    if not isinstance(given, Mapping) or not given:
        fix = f"{where}: {{sharpness: {{direction: higher, low: 0, high: 1}}}}"
        return (), [Problem(where, "names no measure", str(given), f"settings by name: {', '.join(SETTINGS)}", fix)]
    problems = [
        problem for name, settings in given.items() for problem in _wrong(f"{where}.{name}", str(name), settings)
    ]
    if problems:
        return (), problems
    return tuple(msgspec.convert({"name": name, **settings}, Measure) for name, settings in given.items()), []


def in_range(value: float, measure: Measure) -> bool:
    """Return whether a value lies in the declared range, but for rounding."""
    low, high = measure.low, measure.high
    below = low is not None and value < low - ROUNDING * max(1.0, abs(low))
    above = high is not None and value > high + ROUNDING * max(1.0, abs(high))
    return not (below or above)


def checked(
    outcomes: Mapping[str, float | Measured | Exception], measures: Sequence[Measure]
) -> dict[str, float | Measured | Exception]:
    """Return the outcomes by measure, with an exception in the place of a value that is outside its declared range."""
    found = dict(outcomes)
    for measure in measures:
        outcome = found[measure.name]
        if isinstance(outcome, Exception):
            continue
        value = outcome.value if isinstance(outcome, Measured) else outcome
        if not in_range(value, measure):
            ends = ("" if end is None else f"{end:g}" for end in (measure.low, measure.high))
            found[measure.name] = ValueError(f"{measure.name} is {value}, outside the declared range {'..'.join(ends)}")
    return found


def _wrong(where: str, name: str, settings: Any) -> Iterator[Problem]:
    if not name or "/" in name:
        yield Problem(where, "can't name a measure", name, "a name without a slash")
    if not isinstance(settings, Mapping):
        yield Problem(where, "has no settings", str(settings), ", ".join(SETTINGS), "{direction: higher}")
        return
    for setting in settings:
        if setting not in SETTINGS:
            yield Problem(f"{where}.{setting}", "unknown setting", "", some(SETTINGS), closest(str(setting), SETTINGS))
    direction = settings.get("direction")
    if direction not in DIRECTIONS:
        fix = closest(str(direction), DIRECTIONS) or "say which direction is better"
        yield Problem(f"{where}.direction", "unknown direction", str(direction or ""), some(DIRECTIONS), fix)
        return
    known = {key: value for key, value in settings.items() if key in SETTINGS}
    try:
        msgspec.convert({"name": name, **known}, Measure)
    except msgspec.ValidationError as error:
        yield Problem(
            where, str(error), str(dict(settings)), "low and high: numbers; unit: text; needs: a list of text"
        )
