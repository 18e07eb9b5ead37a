"""From records to counts and coverage, with failed, missing and stray records."""

import json
import random

import msgspec
import pytest

from benchmark.metrics import Measure
from benchmark.records import Prediction, Score
from benchmark.report.statistics import describe
from benchmark.report.summary import decode_summary, encode_summary, summarise

CASES = [("a1", "物理"), ("a2", "物理"), ("b1", "art"), ("b2", "art")]
MEASURES = {"basic/flicker": Measure("flicker", "higher"), "iqa/psnr": Measure("psnr", "higher", unit="dB")}


def _prediction(case_id, sample=0, error=None):
    status = "ok" if error is None else "failed"
    return Prediction(case_id=case_id, sample=sample, status=status, fingerprint="f", error=error)


def _score(case_id, value, metric="basic/flicker", sample=0, error=None, status=None, details=None):
    return Score(
        case_id=case_id,
        sample=sample,
        category="stale",  # the cases decide, not what a record once said
        metric=metric,
        status=status or ("ok" if error is None else "failed"),
        value=value,
        error=error,
        details=details or {},
        fingerprint="f",
    )


def _summarise(predictions=(), scores=(), measures=MEASURES, samples=1, cases=CASES, **options):
    return summarise(cases, predictions, scores, measures, samples, 7, **options)


def test_worked_example():
    summary = _summarise(
        [_prediction("a1"), _prediction("a2"), _prediction("b1", error="RuntimeError: x\nTraceback ...")],
        [
            _score("a1", 0.5),
            _score("a2", 1.0),
            _score("a1", 30.0, "iqa/psnr"),
            _score("a2", None, "iqa/psnr", error="y"),
        ],
        stages_s={"infer": 12.5, "eval": 3.0},
    )
    made = summary.predictions
    assert (made.expected, made.ok, made.failed, made.missing) == (4, 2, 1, 1)
    flicker, psnr = summary.metrics["basic/flicker"], summary.metrics["iqa/psnr"]
    assert (flicker.expected, flicker.scored, flicker.failed, flicker.missing) == (4, 2, 0, 2)
    assert (psnr.expected, psnr.scored, psnr.failed, psnr.missing) == (4, 1, 1, 2)
    assert (flicker.overall.mean, flicker.overall.coverage) == (0.75, 0.5)
    assert (psnr.overall.mean, psnr.overall.coverage, psnr.overall.ci_low) == (30.0, 0.25, None)
    assert list(flicker.categories) == ["art", "物理"]
    assert (flicker.categories["物理"].mean, flicker.categories["物理"].coverage) == (0.75, 1.0)
    assert (flicker.categories["art"].mean, flicker.categories["art"].coverage) == (None, 0.0)
    assert (psnr.direction, psnr.unit, psnr.scope) == ("higher", "dB", "case")
    assert summary.stages_s == {"infer": 12.5, "eval": 3.0}
    assert (summary.n_cases, summary.samples, summary.seed) == (4, 1, 7)


def test_statistics_are_those_of_the_values():
    values = {"a1": 0.3, "a2": 0.1, "b1": 0.9, "b2": 0.4}
    metric = _summarise(scores=[_score(k, v) for k, v in values.items()]).metrics["basic/flicker"]
    assert metric.overall == describe(list(values.values()), 4, seed=7)
    assert metric.categories["art"] == describe([0.9, 0.4], 2, seed=7)


def test_several_samples():
    scores = [_score(case, i + s / 10, sample=s) for i, (case, _) in enumerate(CASES) for s in range(3)][:-1]
    metric = _summarise([], scores, samples=3).metrics["basic/flicker"]
    assert (metric.expected, metric.scored, metric.missing) == (12, 11, 1)
    assert (metric.categories["art"].count, metric.categories["art"].expected) == (5, 6)
    cases = [score.case_id for score in scores]
    assert metric.overall == describe([score.value for score in scores], 12, seed=7, cases=cases)


def test_order_of_records_does_not_matter():
    ids = [(f"c{i}", f"k{i % 3}") for i in range(30)]
    predictions = [_prediction(c, s, "E: x" if i == 4 else None) for i, (c, _) in enumerate(ids) for s in range(2)]
    scores = [
        _score(c, None if i % 7 == 0 else i / 3 + s, sample=s, error="E: y" if i % 7 == 0 else None)
        for i, (c, _) in enumerate(ids)
        for s in range(2)
    ]
    first = _summarise(predictions, scores, samples=2, cases=ids)
    rng = random.Random(0)
    for records in (predictions, scores, ids):
        rng.shuffle(records)
    assert encode_summary(_summarise(predictions, scores, samples=2, cases=ids)) == encode_summary(first)


def test_other_metrics_do_not_change_an_interval():
    scores = [_score(c, i / 3) for i, (c, _) in enumerate(CASES)]
    alone = _summarise(scores=scores, measures={"basic/flicker": MEASURES["basic/flicker"]})
    beside = _summarise(scores=[_score("a1", 9.0, "iqa/psnr"), *scores])
    assert alone.metrics["basic/flicker"] == beside.metrics["basic/flicker"]


def test_set_metric():
    measures = {"fid/fid": Measure("fid", "lower")}
    metric = _summarise(scores=[_score(None, 12.5, "fid/fid", details={"used": 3})], measures=measures).metrics[
        "fid/fid"
    ]
    assert (metric.scope, metric.expected, metric.scored, metric.categories) == ("set", 1, 1, {})
    assert (metric.overall.mean, metric.overall.coverage, metric.overall.ci_low) == (12.5, 1.0, None)
    assert metric.details == {"used": 3}


def test_set_metric_that_is_missing_or_failed():
    measures = {"fid/fid": Measure("fid", "lower")}
    missing = _summarise(measures=measures, set_metrics={"fid/fid"}).metrics["fid/fid"]
    assert (missing.scope, missing.expected, missing.scored, missing.missing) == ("set", 1, 0, 1)
    failed = _summarise(scores=[_score(None, None, "fid/fid", error="E: too few")], measures=measures)
    metric = failed.metrics["fid/fid"]
    assert (metric.expected, metric.scored, metric.failed, metric.missing) == (1, 0, 1, 0)
    assert (failed.failures[0].error, failed.failures[0].n_cases, failed.failures[0].case_ids) == (
        "E: too few",
        0,
        [],
    )


def test_stray_records_are_ignored():
    summary = _summarise(
        [_prediction("gone"), _prediction("a1", sample=1)],
        [_score("gone", 1.0), _score("a1", 1.0, sample=1), _score("a1", 1.0, "old/metric")],
    )
    assert (summary.predictions.ok, summary.predictions.missing) == (0, 4)
    assert list(summary.metrics) == list(MEASURES)
    assert summary.metrics["basic/flicker"].overall.count == 0
    assert summary.failures == []


def test_a_failed_score_is_never_a_value():
    score = _score("a1", 0.9, status="failed", error="E: x")  # a value in spite of its status
    metric = _summarise(scores=[score]).metrics["basic/flicker"]
    assert (metric.scored, metric.failed, metric.overall.mean) == (0, 1, None)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_an_ok_score_without_a_number_counts_as_failed(value):
    summary = _summarise(scores=[_score("a1", value, status="ok"), _score("a2", 0.5)])
    metric = summary.metrics["basic/flicker"]
    assert (metric.scored, metric.failed, metric.overall.mean) == (1, 1, 0.5)
    assert "no finite number" in summary.failures[0].error


def test_failures_are_grouped_by_first_line():
    cases = [(f"c{i}", "") for i in range(9)]
    predictions = [_prediction(f"c{i}", error=f"ValueError: bad\n  at frame {i}") for i in reversed(range(7))]
    predictions += [_prediction("c7", error=""), _prediction("c8", error=None)]
    scores = [_score("c8", None, name, error="KeyError: k") for name in MEASURES]
    groups = _summarise(predictions, scores, cases=cases).failures
    assert [(g.stage, g.error, g.count, g.n_cases) for g in groups] == [
        ("infer", "ValueError: bad", 7, 7),
        ("eval", "KeyError: k", 2, 1),
        ("infer", "no error was recorded", 1, 1),
    ]
    assert groups[0].case_ids == ["c0", "c1", "c2", "c3", "c4"]
    assert (groups[0].metrics, groups[1].metrics) == ([], ["basic/flicker", "iqa/psnr"])


def test_a_bare_traceback_is_known_by_its_last_line():
    error = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nRuntimeError: out of memory\n'
    assert _summarise([_prediction("a1", error=error)]).failures[0].error == "RuntimeError: out of memory"


def test_a_dataset_without_categories_has_none():
    summary = _summarise(scores=[_score("x", 1.0)], cases=[("x", ""), ("y", "")])
    assert summary.metrics["basic/flicker"].categories == {}
    assert summary.metrics["basic/flicker"].overall.coverage == 0.5
    mixed = _summarise(cases=[("x", ""), ("y", "art")]).metrics["basic/flicker"]
    assert list(mixed.categories) == ["", "art"]


def test_no_cases_and_no_metrics():
    assert _summarise(cases=[]).metrics["basic/flicker"].overall.coverage is None
    assert _summarise([_prediction("a1")], measures={}).metrics == {}


def test_records_that_were_not_deduplicated_are_our_bug():
    with pytest.raises(AssertionError, match="not deduplicated"):
        _summarise([_prediction("a1")] * 5)
    with pytest.raises(AssertionError, match="not deduplicated"):
        _summarise(scores=[_score("a1", None, error="E")] * 5)


def test_json_round_trip():
    summary = _summarise([_prediction("a1")], [_score("a1", 0.5)])
    data = encode_summary(summary)
    assert decode_summary(data) == summary
    plain = json.loads(data)
    assert plain["record"] == "summary/1"
    assert plain["metrics"]["basic/flicker"]["overall"]["ci_low"] is None
    assert data.endswith(b"}\n") and "物理" in data.decode()
    with pytest.raises(msgspec.DecodeError):
        decode_summary(data.replace(b"summary/1", b"summary/2"))
