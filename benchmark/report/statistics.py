"""Describes the values of one metric: location, spread, and how sure we can be of the mean."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np

CI_LEVEL = 0.95
CI_METHOD = "percentile bootstrap of the mean"
STD_DDOF = 1
MANY_VALUES = 10_000  # above this the mean hardly moves, and fewer resamples settle the interval
BATCH_ELEMENTS = 2**21  # values that are resampled at a time: some 50 MB, however many values there are


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one metric over a group of cases; all numbers are in the metric's own unit.

    `coverage` is count / expected, null where nothing was expected. What the values do not determine is null:
    all of it without values, the standard deviation and the interval with one. `n_resamples` is 0 where the
    interval needed none.
    """

    count: int
    expected: int
    coverage: float | None
    mean: float | None = None
    std: float | None = None
    std_ddof: int = STD_DDOF
    median: float | None = None
    min: float | None = None
    max: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    ci_level: float = CI_LEVEL
    ci_method: str = CI_METHOD
    n_resamples: int = 0


def describe(values: Sequence[float], expected: int, seed: int, cases: Sequence[Hashable] | None = None) -> Statistics:
    """Return the statistics of finite `values`, at most `expected` of them; their order does not matter.

    An interval depends on nothing but the seed and the values. Several samples of a case are not independent:
    given the case that each value belongs to, the bootstrap draws whole cases, else it draws values.

    Raises:
        ValueError: a value is not finite, there are more than expected, or `cases` has another length.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile interval).
    """
    import numpy as np

    _check(values, expected, cases)
    count = len(values)
    coverage = count / expected if expected else None
    if not count:
        return Statistics(count=0, expected=expected, coverage=coverage)
    ordered = np.sort(np.asarray(values, dtype=np.float64))  # (count,)
    low, high = float(ordered[0]), float(ordered[-1])
    sums, sizes = _by_case(ordered, values, cases)
    ci_low, ci_high, n_resamples = _interval(sums, sizes, low, high, seed)
    return Statistics(
        count=count,
        expected=expected,
        coverage=coverage,
        mean=min(max(math.fsum(ordered) / count, low), high),  # rounding must not push it out of the values' range
        std=None if count == 1 else 0.0 if low == high else float(np.std(ordered, ddof=STD_DDOF)),
        median=float(np.median(ordered)),
        min=low,
        max=high,
        ci_low=ci_low,
        ci_high=ci_high,
        ci_method=CI_METHOD if len(sums) == count else f"{CI_METHOD}, drawing cases",
        n_resamples=n_resamples,
    )


def _check(values: Sequence[float], expected: int, cases: Sequence[Hashable] | None) -> None:
    if not all(map(math.isfinite, values)):
        raise ValueError("values must be finite: what could not be measured is a failed score, not a number")
    if len(values) > expected:
        raise ValueError(f"{len(values)} values, at most {expected} are expected: was a sample counted twice?")
    if cases is not None and len(cases) != len(values):
        raise ValueError(f"{len(cases)} cases for {len(values)} values: each value needs the case it belongs to")


def _by_case(
    ordered: np.ndarray, values: Sequence[float], cases: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the number of each case's values, sorted by both: each (cases,) float64."""
    import numpy as np

    if cases is None or len(set(cases)) == len(cases):
        return ordered, np.ones(len(ordered))
    groups: dict[Hashable, list[float]] = {}
    for value, case in zip(values, cases, strict=True):
        groups.setdefault(case, []).append(value)
    pairs = np.array(sorted((math.fsum(group), len(group)) for group in groups.values()), dtype=np.float64)
    return pairs[:, 0], pairs[:, 1]


def _interval(
    sums: np.ndarray, sizes: np.ndarray, low: float, high: float, seed: int
) -> tuple[float | None, float | None, int]:
    """Return both ends of the interval of sums.sum() / sizes.sum(), and the number of resamples it took.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8 (whole groups).
    """
    n = len(sums)
    if n == 1:
        return None, None, 0
    if low == high:
        return low, high, 0

    import numpy as np
    from scipy.stats import bootstrap

    def mean_of_cases(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis=axis) / sizes.sum(axis=axis)

    single = bool((sizes == 1).all())  # then the cheaper plain mean is the same
    n_resamples = 9999 if n <= MANY_VALUES else 999
    interval = bootstrap(
        (sums,) if single else (sums, sizes),
        np.mean if single else mean_of_cases,
        paired=not single,
        vectorized=True,
        n_resamples=n_resamples,
        batch=max(1, BATCH_ELEMENTS // n),
        confidence_level=CI_LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed % 2**64),  # numpy takes no negative seed; `rng=` needs SciPy 1.15
    ).confidence_interval
    return float(interval.low), float(interval.high), n_resamples
