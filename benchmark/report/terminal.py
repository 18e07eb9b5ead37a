"""Prints a summary as tables that fit the terminal, and as plain text into a pipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmark.errors import some
from benchmark.progress import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from benchmark.report.statistics import Statistics
    from benchmark.report.summary import FailureGroup, MetricSummary, Summary

ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}
NOTHING = "–"
LEGEND = "mean [95 % interval] scored/expected; ↑ higher is better, ↓ lower is better"
MOST_FAILURES = 10
GAP = 2  # columns of the terminal between two columns of a table
ANY_WIDTH = 100_000


@dataclass(frozen=True)
class Form:
    """How the numbers of one metric are written in all rows: fixed decimals, or with an exponent."""

    decimals: int
    exponent: bool = False

    def __call__(self, value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return NOTHING
        if self.exponent:
            return f"{value:.2e}"
        return f"{round(value, self.decimals) + 0.0:.{self.decimals}f}"  # + 0.0 turns -0.0 into 0.0


def print_summary(summary: Summary, console: Console | None = None, title: str = "", by_category: bool = True) -> None:
    """Print the metrics by category, the failures by cause, and the time of each stage.

    The table has a column per metric; where these do not fit the console, a row per metric and a table per
    category. Nothing that a user named is read as markup. `title` says which run it is. `by_category=False` leaves out
    all but the overall values.
    """
    if console is None:
        from rich.console import Console

        console = Console()
    if title:
        _line(console, title, style="bold")
    made = summary.predictions
    lost = [f", {n} {what}" for n, what in ((made.failed, "failed"), (made.missing, "missing")) if n]
    lost += [f"; {summary.excluded} rows of the dataset left out"] if summary.excluded else []
    _line(console, f"Predictions: {made.ok}/{made.expected} ok{''.join(lost)}")
    tables = _tables(summary, console) if by_category else _by_row(summary, console.width)[:1]
    for table in tables if summary.metrics else []:
        console.print()
        console.print(table, crop=False, highlight=False)
    if summary.metrics:
        console.print()
        _line(console, LEGEND, style="dim")
    if summary.failures:
        console.print()
        _line(console, "Failures", style="bold red")
        for group in summary.failures[:MOST_FAILURES]:
            _print_failure(console, group)
        rest = len(summary.failures) - MOST_FAILURES
        if rest > 0:
            _line(console, f"and {rest} more causes, see summary.json", indent=2)
    if summary.stages_s:
        console.print()
        _line(console, "Time: " + ", ".join(f"{k} {duration(v)}" for k, v in summary.stages_s.items()))


def number_form(metric: MetricSummary) -> Form:
    """Return how to write a metric: in three digits, or in as many as its overall interval needs."""
    groups = [metric.overall, *metric.categories.values()]
    means = [abs(s.mean) for s in groups if s.mean is not None and math.isfinite(s.mean)]
    largest = max(means, default=0.0)
    if largest >= 1e6 or 0 < largest < 1e-4:
        return Form(2, exponent=True)
    decimals = min(max(2 - math.floor(math.log10(largest)), 1), 6) if largest else 3
    low, high = metric.overall.ci_low, metric.overall.ci_high
    if low is not None and high is not None and math.isfinite(high - low) and high > low:
        half_width_log10 = math.log10(high - low) - math.log10(2)
        decimals = max(decimals, min(math.ceil(-half_width_log10), 6))
    return Form(decimals)


def _plain(text: str) -> str:
    """Return text that neither moves the cursor nor breaks a line: whatever is unprintable is spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _line(console: Console, text: str, style: str = "", indent: int = 0) -> None:
    from rich.padding import Padding
    from rich.text import Text

    line = Text(_plain(text), style=style, overflow="fold")
    console.print(Padding(line, (0, 0, 0, indent), expand=False), highlight=False)


def _print_failure(console: Console, group: FailureGroup) -> None:
    _line(console, f"{group.count} × {group.stage}: {group.error}", indent=2)
    if group.metrics:
        _line(console, f"metrics: {some(group.metrics)}", indent=6)
    if group.case_ids:
        rest = group.n_cases - len(group.case_ids)
        cases = ", ".join(group.case_ids) + (f", and {rest} more" if rest else "")
        _line(console, f"cases: {cases}", indent=6)


def _tables(summary: Summary, console: Console) -> list[Table]:
    """Return the first layout that fits.

    A column per metric; the same with taller rows; overall values in a row per metric above the categories' bare means; a
    table per category.
    """

    def fits(table: Table) -> bool:
        wide = console.options.update(max_width=ANY_WIDTH)
        return console.measure(table, options=wide).maximum <= console.width

    for tall in (False, True):
        if fits(table := _by_column(summary, tall)):
            return [table]
    by_row = _by_row(summary, console.width)
    if not _categories(summary):
        return by_row
    return [by_row[0], means] if fits(means := _means(summary)) else by_row


def _means(summary: Summary) -> Table:
    """Return a table of means alone, a row per category and a column per metric; coverage is added where it lacks."""
    headers = [
        _label(name, metric).replace("/", "/\n", 1).replace("_", "_\n") for name, metric in summary.metrics.items()
    ]
    table = _new_table("", ["mean", *headers], None, "right")
    for category in _categories(summary):
        cells = []
        for metric in summary.metrics.values():
            mean, _, covered = _parts(metric.categories.get(category), number_form(metric), covered=False)
            cells.append(f"{mean} {covered}".rstrip())
        table.add_row(*_texts(_category(category), *cells))
    return table


def _by_column(summary: Summary, tall: bool) -> Table:
    """Return a table with a row per category; `tall` puts coverage on a second line."""
    categories = _categories(summary)
    labels = [_label(name, metric) for name, metric in summary.metrics.items()]
    headers = ["", *(label.replace("/", "/\n", 1) if tall else label for label in labels)]
    table = _new_table("", headers, None, "left")
    columns = [_cells(metric, categories, tall) for metric in summary.metrics.values()]
    for row, category in enumerate(categories):
        last = row == len(categories) - 1
        table.add_row(*_texts(_category(category), *(column[row] for column in columns)), end_section=last)
    table.add_row(*_texts("overall", *(column[-1] for column in columns)), style="bold")
    return table


def _cells(metric: MetricSummary, categories: list[str], tall: bool) -> list[str]:
    """Return a metric's cell for each category and overall, with mean, interval and coverage each aligned."""
    form = number_form(metric)
    groups = [metric.categories.get(category) for category in categories]
    parts = [_parts(stats, form, covered=False) for stats in groups] + [_parts(metric.overall, form)]
    mean_width, interval_width, covered_width = (max(map(len, column)) for column in zip(*parts, strict=True))
    cells = []
    for mean, interval, covered in parts:
        value = f"{mean:>{mean_width}} {interval:>{interval_width}}" if interval_width else mean
        cells.append(f"{value}\n{covered}".rstrip("\n") if tall else f"{value} {covered:>{covered_width}}")
    return cells


def _by_row(summary: Summary, width: int) -> list[Table]:
    """Return a table of the overall values, then one per category: a row per metric, equal columns in all."""
    groups: list[tuple[str, list[tuple[str, ...]]]] = [("overall", [])]
    groups += [(_category(category), []) for category in _categories(summary)]
    for name, metric in summary.metrics.items():
        form, label = number_form(metric), _label(name, metric)
        found = [metric.overall, *map(metric.categories.get, _categories(summary))]
        for (_, rows), stats in zip(groups, found, strict=True):
            if stats is not None:
                rows.append((label, *_parts(stats, form)))
    headers = ("metric", "mean", "95 % interval", "scored")
    widths = _widths([headers, *(row for _, rows in groups for row in rows)], width)
    tables = [_new_table(title, headers, widths, "right") for title, _ in groups]
    for table, (_, rows) in zip(tables, groups, strict=True):
        for row in rows:
            table.add_row(*_texts(*row))
    return tables


def _widths(rows: list[tuple[str, ...]], width: int) -> list[int]:
    """Return the width of each column; the first one gives way to the numbers, which are never cut."""
    from rich.cells import cell_len

    first, *numbers = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    left = width - sum(numbers) - GAP * len(numbers)
    return [min(first, max(left, 10)), *numbers]


def _new_table(
    title: str, headers: Sequence[str], widths: Sequence[int] | None, justify: Literal["left", "right"]
) -> Table:
    """Return an empty table: the first column holds text, the others numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, style="bold", overflow="fold") if title else None,
        title_justify="left",
        box=box.HORIZONTALS,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        width=sum(widths) + GAP * (len(widths) - 1) if widths else None,
    )
    for number, header in enumerate(headers):
        table.add_column(
            Text(header),
            justify=justify if number else "left",
            overflow="fold",
            no_wrap=number > 0,
            width=widths[number] if widths else None,
        )
    return table


def _parts(stats: Statistics | None, form: Form, covered: bool = True) -> tuple[str, str, str]:
    """Return mean, interval and, if `covered` or something lacks, how many values they rest on."""
    if stats is None:
        return NOTHING, "", ""
    known = stats.ci_low is not None and stats.ci_high is not None
    interval = f"[{form(stats.ci_low)}, {form(stats.ci_high)}]" if known else ""
    shown = covered or stats.count < stats.expected
    return form(stats.mean), interval, f"{stats.count}/{stats.expected}" if shown else ""


def _categories(summary: Summary) -> list[str]:
    return sorted({name for metric in summary.metrics.values() for name in metric.categories})


def _category(name: str) -> str:
    return _plain(name) or "(no category)"


def _label(name: str, metric: MetricSummary) -> str:
    return " ".join(part for part in (_plain(name), ARROWS[metric.direction], _plain(metric.unit)) if part)


def _texts(*cells: str) -> list[Text]:
    from rich.text import Text

    return [Text(cell) for cell in cells]
