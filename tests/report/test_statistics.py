"""Statistics against numpy, and the interval against a bootstrap written out by hand."""

import math
import random
import warnings

import numpy as np
import pytest

from benchmark.report.statistics import describe


def _bootstrap_by_hand(groups, n_resamples, seed):
    """Return the 2.5 and 97.5 percentiles of the mean over resamples that draw whole groups of values."""
    rng = np.random.default_rng(seed)
    means = [
        np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))]).mean()
        for _ in range(n_resamples)
    ]
    return np.percentile(means, [2.5, 97.5])


def test_worked_example():
    s = describe([2, 4, 4, 4, 5, 5, 7, 9], expected=10, seed=0)
    assert (s.count, s.expected, s.coverage) == (8, 10, 0.8)
    assert (s.mean, s.median, s.min, s.max) == (5.0, 4.5, 2.0, 9.0)
    assert s.std == pytest.approx(math.sqrt(32 / 7), rel=1e-12)  # squared deviations: 9+1+1+1+0+0+4+16 = 32
    assert (s.std_ddof, s.ci_level, s.n_resamples) == (1, 0.95, 9999)
    assert s.ci_method == "percentile bootstrap of the mean"
    assert s.ci_low < s.mean < s.ci_high


def test_two_values_have_an_exact_interval():
    # Resamples of {0, 1} have mean 0, 1/2, 1 with probability 1/4, 1/2, 1/4: the outer 2.5 % are 0 and 1.
    s = describe([1.0, 0.0], expected=2, seed=3)
    assert (s.ci_low, s.ci_high) == (0.0, 1.0)


def test_agrees_with_numpy():
    values = np.random.default_rng(1).gamma(2.0, 3.0, 501)
    s = describe(values.tolist(), expected=501, seed=0)
    assert s.mean == pytest.approx(values.mean(), rel=1e-12)
    assert s.std == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert s.median == np.median(values)
    assert (s.min, s.max) == (values.min(), values.max())


@pytest.mark.parametrize("n", [5, 40, 300])
def test_interval_agrees_with_a_bootstrap_by_hand(n):
    values = np.random.default_rng(n).gamma(2.0, 3.0, n)
    s = describe(values.tolist(), expected=n, seed=0)
    low, high = _bootstrap_by_hand([np.array([v]) for v in values], 9999, seed=99)
    # The 2.5 % quantile of 9999 draws has a standard error of 0.027 deviations; five times that of both ends.
    tolerance = 5 * math.sqrt(2) * 0.027 * values.std() / math.sqrt(n)
    assert s.ci_low == pytest.approx(low, abs=tolerance)
    assert s.ci_high == pytest.approx(high, abs=tolerance)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        s = describe(rng.normal(0.0, 1.0, 60).tolist(), expected=60, seed=0)
        hits += s.ci_low <= 0.0 <= s.ci_high
    assert 176 <= hits <= 199  # 200 x 0.94 (the percentile method is slightly narrow at n = 60), +- 3.5 deviations


def test_samples_of_one_case_are_drawn_together():
    rng = np.random.default_rng(2)
    sizes = [4] * 20 + [3] * 5  # a few samples failed
    groups = [rng.normal(level, 0.1, size) for level, size in zip(rng.normal(size=25), sizes, strict=True)]
    values = np.concatenate(groups)
    cases = [f"case{i}" for i, size in enumerate(sizes) for _ in range(size)]
    s = describe(values.tolist(), expected=100, seed=0, cases=cases)
    low, high = _bootstrap_by_hand(groups, 9999, seed=7)
    assert s.mean == pytest.approx(values.mean(), rel=1e-12)
    assert s.ci_low == pytest.approx(low, abs=0.2 * (high - low) / 4)  # a fifth of a standard error, as above
    assert s.ci_high == pytest.approx(high, abs=0.2 * (high - low) / 4)
    assert s.ci_method.endswith("drawing cases")
    alone = describe(values.tolist(), expected=100, seed=0)
    assert s.ci_high - s.ci_low > 1.5 * (alone.ci_high - alone.ci_low)  # four alike samples are not four times the data


def test_one_sample_of_each_case_is_the_plain_bootstrap():
    values = [0.1, 0.9, 0.4, 0.5]
    assert describe(values, 4, seed=1, cases=list("abcd")) == describe(values, 4, seed=1)


@pytest.mark.parametrize("samples", [1, 3])
def test_order_does_not_matter(samples):
    pairs = [(f"c{i // samples}", v) for i, v in enumerate(np.random.default_rng(0).normal(size=90).tolist())]
    shuffled = random.Random(4).sample(pairs, len(pairs))
    first, second = (describe([v for _, v in p], 90, seed=11, cases=[c for c, _ in p]) for p in (pairs, shuffled))
    assert first == second  # to the last bit


def test_calls_do_not_influence_each_other():
    values = np.random.default_rng(0).normal(size=50).tolist()
    first = describe(values, 50, seed=11)
    describe([1.0, 2.0, 3.0], 3, seed=11)
    assert describe(values, 50, seed=11) == first
    assert describe(values, 50, seed=12) != first
    assert describe(values, 50, seed=-1).ci_low is not None


def test_no_values():
    s = describe([], expected=4, seed=0)
    assert (s.count, s.expected, s.coverage) == (0, 4, 0.0)
    assert {s.mean, s.std, s.median, s.min, s.max, s.ci_low, s.ci_high} == {None}
    assert describe([], expected=0, seed=0).coverage is None


def test_one_value():
    s = describe([0.25], expected=1, seed=0)
    assert (s.mean, s.median, s.min, s.max) == (0.25,) * 4
    assert (s.std, s.ci_low, s.ci_high, s.n_resamples) == (None, None, None, 0)


def test_one_case_of_several_samples_has_no_interval():
    s = describe([0.25, 0.75], expected=2, seed=0, cases=["a", "a"])
    assert (s.mean, s.ci_low, s.ci_high) == (0.5, None, None)
    assert s.std == pytest.approx(math.sqrt(0.125))


def test_constant_values_stay_exact_and_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        s = describe([0.1] * 7, expected=7, seed=0)
    assert (s.mean, s.std, s.ci_low, s.ci_high, s.n_resamples) == (0.1, 0.0, 0.1, 0.1, 0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(wrong):
    with pytest.raises(ValueError, match="finite"):
        describe([0.5, wrong], expected=2, seed=0)


def test_more_values_than_expected_are_refused():
    with pytest.raises(ValueError, match="3 values, at most 2"):
        describe([1.0, 2.0, 3.0], expected=2, seed=0)


def test_cases_of_another_length_are_refused():
    with pytest.raises(ValueError, match="1 cases for 2 values"):
        describe([1.0, 2.0], expected=2, seed=0, cases=["a"])


def test_many_values_are_resampled_less_often_in_bounded_memory():
    import tracemalloc

    values = np.random.default_rng(0).normal(size=200_000).tolist()
    describe(values[:10], 10, seed=0)  # so that importing SciPy is not measured
    tracemalloc.start()
    s = describe(values, 200_000, seed=0)
    peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert s.n_resamples == 999
    assert s.ci_high - s.ci_low == pytest.approx(2 * 1.96 / math.sqrt(200_000), rel=0.15)
    assert peak_mb < 150  # all resamples at once would need 3,200
    assert describe(values[:10_000], 10_000, seed=0).n_resamples == 9999
