"""Metrics narrowed to what the cases have, looks at all cases, and rows that are left out."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

PARTS = '''
from dataclasses import dataclass, field
from typing import ClassVar
from benchmark.dataset import Excluded
from benchmark.errors import Problem
from benchmark.metrics import Measure
from benchmark.records import Case


@dataclass
class Sizes:
    """Length, and length against fields.target."""
    names: list[str] | None = None
    batch_size: int = 1
    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple] = ("text",)
    execution_only: ClassVar[tuple] = ("names",)

    @property
    def measures(self):
        every = (
            Measure("length", "neither"),
            Measure("error", "lower", needs=("fields.target",)),
            Measure("flicker", "lower", kinds=("video",)),
        )
        return tuple(m for m in every if self.names is None or m.name in self.names)

    def load(self, device): ...

    def score(self, items):
        return [self.one(i) for i in items]

    def one(self, item):
        values = {"length": len(item.clip.text)}
        if "error" in [m.name for m in self.measures]:
            values["error"] = abs(len(item.clip.text) - item.case.fields["target"])
        return values

    def review(self, cases, samples):
        long = [case.id for case in cases if len(case.prompt) > 20]
        if long:
            yield f"long prompts: {', '.join(long)} (x{samples})"
        if len(long) > 2:
            yield Problem("metrics.sizes", "too many long prompts")


@dataclass
class Leaky:
    """Twelve rows, of which those listed are bad."""
    bad: list[int] = field(default_factory=list)
    target: bool = False
    long: int = 0
    version: ClassVar[str] = "1"

    def __post_init__(self):
        self.excluded = Excluded()

    def cases(self):
        self.excluded = Excluded()
        for i in range(12):
            if i in self.bad:
                self.excluded.count += 1
                self.excluded.listed.append(Problem(f"row {i}", "has no prompt"))
                continue
            fields = {"target": 5} if self.target and i != 3 else {}
            yield Case(id=f"c{i}", category="xy"[i % 2], prompt="word " * (9 if i < self.long else 1), fields=fields)
'''


@pytest.fixture
def leaky(lab: Any) -> Any:
    (lab.folder / "lab" / "sizes.py").write_text(PARTS)
    lab.option("metrics/sizes", "# @package metrics.sizes\n_target_: lab.sizes.Sizes\nnames: null\n")
    lab.option("dataset/leaky", "_target_: lab.sizes.Leaky\nbad: []\ntarget: false\nlong: 0\n")
    lab.options = ("--config-dir", "conf", "plugins=[lab]", "model=echo", "dataset=leaky", "metrics=[sizes]")
    return lab


def summary(lab: Any) -> dict[str, Any]:
    return json.loads((lab.folder / "outputs/echo-leaky/latest/results/echo/summary.json").read_text())


def test_a_measure_that_no_case_has_what_it_needs_for_is_left_out_and_said(leaky: Any) -> None:
    said = leaky.run()
    assert said.code == 0
    assert "metrics.sizes leaves out error: no case has fields.target" in said.out
    assert "metrics.sizes leaves out flicker: it is of a video, the model makes a text" in said.out
    assert list(summary(leaky)["metrics"]) == ["sizes/length"]
    again = leaky("dry_run=true", "reuse=latest")
    assert again.code == 0 and "nothing pending, 12 reused" in again.out
    assert leaky.run("mode=eval").code == 0


def test_what_was_asked_for_by_name_or_lacks_in_some_cases_only_is_refused(leaky: Any) -> None:
    assert "which 12 of 12 cases lack" in leaky.refuse("metrics.sizes.names=[length,error]").err
    assert "which 1 of 12 cases lack" in leaky.refuse("dataset.target=true").err
    assert "which 12 of 12 cases lack" in leaky.refuse("metrics.sizes.names=[error]").err
    assert "can't give flicker: it is of a video" in leaky.refuse("metrics.sizes.names=[flicker]").err


def test_infer_alone_narrows_too_so_that_scoring_later_agrees(leaky: Any) -> None:
    said = leaky.run("mode=infer")
    assert said.code == 0 and "leaves out" not in said.out
    assert leaky.run("mode=eval").code == 0
    assert list(summary(leaky)["metrics"]) == ["sizes/length"]


def test_a_metric_of_another_kind_of_output_is_no_matter_until_it_scores(leaky: Any) -> None:
    assert "metrics.basic: scores video, but the model makes text" in leaky.refuse("metrics=[basic]").err
    assert leaky.run("metrics=[basic]", "mode=infer").code == 0
    assert "scores video" in leaky.refuse("mode=eval", "metrics=[basic]").err
    assert leaky.run("mode=eval", "metrics=[sizes]").code == 0


def test_a_component_that_looks_at_all_cases_can_note_and_refuse(leaky: Any) -> None:
    said = leaky("dry_run=true", "dataset.long=2", "samples=3")
    assert said.code == 0 and "long prompts: c0, c1 (x3)" in said.out
    assert "too many long prompts" in leaky.refuse("dataset.long=3").err


def test_a_problem_stands_under_the_option_s_own_name_in_a_copy_of_it(leaky: Any) -> None:
    leaky.option("metrics/lengths", "# @package metrics.lengths\n_target_: lab.sizes.Sizes\n")
    said = leaky.refuse("metrics=[lengths]", "dataset.long=3")
    assert "metrics.lengths: too many long prompts" in said.err and "metrics.sizes" not in said.err


def test_packages_are_looked_for_in_the_interpreter_that_needs_them(leaky: Any) -> None:
    parts = leaky.folder / "lab" / "sizes.py"
    parts.write_text(
        parts.read_text().replace("class Sizes:", 'class Sizes:\n    requires = ("msgspec", "no_such_package")')
    )
    said = leaky.refuse()
    assert "metrics.sizes: needs no_such_package, not installed here" in said.err
    assert "pip install 'genbench[metrics]'" in said.err
    said = leaky.refuse(f"compute.eval.python={sys.executable}")
    assert f"not installed in {sys.executable}" in said.err and f"{sys.executable} -m pip install" in said.err
    assert leaky("mode=infer", "dry_run=true").code == 0


def test_rows_left_out_are_told_counted_and_listed(leaky: Any) -> None:
    said = leaky.run("dataset.bad=[2,7]")
    assert said.code == 0
    assert "2 rows of the dataset are left out (row 2: has no prompt, row 7: has no prompt)" in said.out
    assert "Predictions: 10/10 ok; 2 rows of the dataset left out" in said.out
    found = summary(leaky)
    assert found["excluded"] == 2 and found["metrics"]["sizes/length"]["expected"] == 10
    lines = (leaky.folder / "outputs/echo-leaky/latest/excluded.jsonl").read_text().splitlines()
    assert [json.loads(line)["where"] for line in lines] == ["row 2", "row 7"]
    assert leaky.run("mode=eval").code == 0 and summary(leaky)["excluded"] == 2
