"""What the terminal shows: golden text, every width, and text that must not be read as markup."""

import io
import itertools

import pytest
from rich.cells import cell_len
from rich.console import Console

from benchmark.report.statistics import Statistics
from benchmark.report.summary import FailureGroup, MetricSummary, PredictionCounts, Summary
from benchmark.report.terminal import duration, number_form, print_summary


def _stats(mean, half=None, count=14, expected=14):
    ends = {} if half is None else {"ci_low": mean - half, "ci_high": mean + half}
    return Statistics(count=count, expected=expected, coverage=count / expected, mean=mean, **ends)


def _metric(overall, categories=None, direction="higher", unit="", scope="case"):
    return MetricSummary(
        scope=scope,
        direction=direction,
        unit=unit,
        expected=overall.expected,
        scored=overall.count,
        failed=0,
        missing=overall.expected - overall.count,
        overall=overall,
        categories=categories or {},
    )


def _summary(metrics, failures=(), stages_s=None, failed=0):
    made = PredictionCounts(expected=56, ok=56 - failed, failed=failed, missing=0)
    return Summary(
        n_cases=56,
        samples=1,
        seed=0,
        predictions=made,
        metrics=metrics,
        failures=list(failures),
        stages_s=stages_s or {},
    )


def _shown(summary, width=80, **options):
    """Return what a pipe of that width gets, without the blanks at the ends of lines."""
    stream = io.StringIO()
    print_summary(summary, Console(file=stream, width=width), **options)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _two_metrics():
    flicker = {"物理": _stats(0.9531, 0.0052), "[bold]art[/bold]": _stats(0.94, 0.011, count=12)}
    psnr = {"物理": _stats(32.41, 0.5), "[bold]art[/bold]": _stats(9.62, 0.25)}
    return {
        "basic/flicker": _metric(_stats(0.9487, 0.0049, 54, 56), flicker),
        "basic/psnr": _metric(_stats(30.1, 0.41, 56, 56), psnr, unit="dB"),
    }


GOLDEN_80 = """\
wan [2.2]
Predictions: 54/56 ok, 2 failed

                  basic/flicker ↑             basic/psnr ↑ dB
─────────────────────────────────────────────────────────────────────
[bold]art[/bold]  0.940 [0.929, 0.951] 12/14   9.6   [9.4, 9.9]
物理              0.953 [0.948, 0.958]        32.4 [31.9, 32.9]
─────────────────────────────────────────────────────────────────────
overall           0.949 [0.944, 0.954] 54/56  30.1 [29.7, 30.5] 56/56

mean [95 % interval] scored/expected; ↑ higher is better, ↓ lower is better

Failures
  7 × infer: RuntimeError: [red]out of memory[/red]
      cases: a, b, c, d, [e], and 2 more

Time: infer 1 h 12 min, eval 1 min 15 s, viz 2.2 s
"""


def test_golden_text_at_80_columns():
    error = "RuntimeError: [red]out of memory[/red]"
    ids = ["a", "b", "c", "d", "[e]"]
    group = FailureGroup(stage="infer", error=error, count=7, n_cases=7, case_ids=ids)
    times = {"infer": 4321.0, "eval": 75.3, "viz": 2.23}
    shown = _shown(_summary(_two_metrics(), [group], times, failed=2), title="wan [2.2]")
    assert shown == GOLDEN_80


GOLDEN_BY_ROW = """\
Predictions: 56/56 ok

overall
metric            mean   95 % interval  scored
──────────────────────────────────────────────
basic/flicker ↑  0.949  [0.944, 0.954]   54/56
"""


def test_a_row_per_metric_where_columns_do_not_fit():
    shown = _shown(_summary(_two_metrics()), width=50)
    assert shown.startswith(GOLDEN_BY_ROW)
    means = shown[shown.index("\nmean ") :].splitlines()
    assert any(line.split()[:2] == ["物理", "0.953"] for line in means), "below it the categories' bare means"
    assert any(line.split()[:3] == ["[bold]art[/bold]", "0.940", "12/14"] for line in means), shown


def test_a_table_per_category_where_not_even_bare_means_fit():
    shown = _shown(_summary(_two_metrics()), width=30)
    assert "\n\n物理\nmetric" in shown and "\n\n[bold]art[/bold]\nmetric" in shown


def test_overall_values_alone_when_asked_for():
    shown = _shown(_summary(_two_metrics()), by_category=False)
    assert "30.1" in shown
    assert "物理" not in shown


def test_taller_rows_where_that_is_enough():
    shown = _shown(_summary(_two_metrics()), width=60).splitlines()
    (row,) = (i for i, line in enumerate(shown) if line.startswith("overall "))
    assert shown[row + 1].split() == ["54/56", "56/56"]
    assert max(map(cell_len, shown[:row])) <= 60


@pytest.mark.parametrize(("width", "n"), list(itertools.product([20, 40, 80, 100, 160], [1, 3, 12])))
def test_no_number_is_ever_cut(width, n):
    categories = {f"类别 {i} 很长的名字": _stats(0.1 + i / 10, 0.005, 13) for i in range(4)}
    metrics = {
        f"option/quite_a_long_metric_name_{i}": _metric(_stats(0.5 + i / 100, 0.004), categories) for i in range(n)
    }
    shown = _shown(_summary(metrics), width=width)
    assert "…" not in shown
    for category in categories.values():
        intervals = shown.count(f"[{category.ci_low:.3f}, {category.ci_high:.3f}]")
        assert intervals == n or (intervals == 0 and shown.count(f"{category.mean:.3f}") == n)
    for metric in metrics.values():
        assert f"{metric.overall.mean:.3f}" in shown
        assert f"[{metric.overall.ci_low:.3f}, {metric.overall.ci_high:.3f}]" in shown
    assert shown.count("13/14") == 4 * n
    assert shown.count("14/14") == n
    if width >= 80:
        assert max(map(cell_len, shown.splitlines())) <= width


def test_a_pipe_gets_no_escape_codes_and_a_terminal_does():
    summary = _summary(_two_metrics())
    assert "\x1b" not in _shown(summary)
    stream = io.StringIO()
    print_summary(summary, Console(file=stream, width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[1m" in stream.getvalue()


def test_text_of_users_cannot_move_the_cursor_or_break_lines():
    metrics = {"basic/x": _metric(_stats(0.5), {"a\x1b[2Jb\nc": _stats(0.5), ":smile:": _stats(0.5)})}
    group = FailureGroup(stage="eval", error="\x1b[31mred\tE", count=1, n_cases=1, case_ids=["c"], metrics=["basic/x"])
    shown = _shown(_summary(metrics, [group]))
    assert "a\\x1b[2Jb\\nc" in shown and ":smile:" in shown and "\\x1b[31mred\\tE" in shown
    assert "metrics: basic/x" in shown
    assert "\x1b" not in shown


def test_what_is_missing_is_a_dash():
    nothing = Statistics(count=0, expected=56, coverage=0.0)
    broken = Statistics(count=56, expected=56, coverage=1.0, mean=float("nan"), ci_low=float("nan"), ci_high=1.0)
    metrics = {
        "a/x": _metric(nothing, {"k": Statistics(count=0, expected=3, coverage=0.0)}),
        "a/y": _metric(broken),
    }
    shown = _shown(_summary(metrics)).splitlines()
    assert ["k", "–", "0/3", "–"] in [line.split() for line in shown]
    (overall,) = (line.split() for line in shown if line.startswith("overall"))
    assert overall == ["overall", "–", "0/56", "–", "[–,", "1.000]", "56/56"]
    assert "nan" not in "".join(shown)


def test_a_metric_of_the_whole_set():
    fid = _metric(_stats(123.456, count=1, expected=1), direction="lower", scope="set")
    shown = [line.split() for line in _shown(_summary({**_two_metrics(), "fid/fid": fid}), width=100).splitlines()]
    assert shown[2][-2:] == ["fid/fid", "↓"]
    (overall,) = (line for line in shown if line[:1] == ["overall"])
    (physics,) = (line for line in shown if line[:1] == ["物理"])
    assert overall[-2:] == ["123.5", "1/1"]
    assert physics[-1] == "–"


def test_without_categories_metrics_or_failures():
    shown = _shown(_summary({"a/x": _metric(_stats(0.5, 0.01, 56, 56))}))
    assert "overall  0.500 [0.490, 0.510] 56/56" in shown
    assert "Failures" not in shown and "Time" not in shown
    assert _shown(_summary({})) == "Predictions: 56/56 ok\n"


def test_many_metrics_without_categories_make_one_table():
    shown = _shown(_summary({f"basic/measure_{i}": _metric(_stats(0.5, 0.1)) for i in range(6)}))
    assert shown.count("─" * 20) and "measure_5" in shown
    assert not any(line.startswith("mean ") and "measure" in line for line in shown.splitlines())
    assert sum(set(line.strip()) == {"─"} for line in shown.splitlines()) == 1


def test_a_category_without_a_name_or_named_overall():
    metrics = {"a/x": _metric(_stats(0.5), {"": _stats(0.25), "overall": _stats(0.75)})}
    for width in (80, 24):
        shown = _shown(_summary(metrics), width)
        assert shown.count("overall") == 2 and "0.250" in shown and "0.750" in shown
        assert "(no category)" in shown


def test_many_causes_are_cut_with_a_count():
    groups = [FailureGroup(stage="eval", error=f"E{i}", count=1, n_cases=0, case_ids=[]) for i in range(13)]
    shown = _shown(_summary({}, groups))
    assert "E9" in shown and "E10" not in shown
    assert "and 3 more causes, see summary.json" in shown


@pytest.mark.parametrize(
    ("mean", "half", "shown"),
    [
        (0.95312, 0.0051, "0.953"),
        (0.95312, 0.00004, "0.95312"),  # the interval must be seen
        (0.95312, 1e-9, "0.953120"),
        (1.5, None, "1.50"),
        (32.412, 0.5, "32.4"),
        (1234.56, None, "1234.6"),
        (0.0123, None, "0.0123"),
        (0.0000123, None, "1.23e-05"),
        (-2345678.0, None, "-2.35e+06"),
        (0.0, None, "0.000"),
        (0.5, 5e-324, "0.500"),
    ],
)
def test_decimals(mean, half, shown):
    assert number_form(_metric(_stats(mean, half)))(mean) == shown


def test_no_minus_zero():
    assert number_form(_metric(_stats(0.5)))(-0.0001) == "0.000"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (360_000, "100 h 00 min"),
        (float("nan"), "–"),
    ],
)
def test_duration(seconds, shown):
    assert duration(seconds) == shown
