"""Sweeps: the folder's layout, names that repeat, and going on where a sweep stopped."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.invocation import Invocation
from benchmark.sweep import slugs


def invocation(*overrides: str) -> Invocation:
    return Invocation(None, "m", "d", overrides)  # type: ignore[arg-type]


def test_slugs_are_short_path_safe_and_the_same_when_repeated() -> None:
    asked = [
        invocation("limit=3", f"prompts.template={text}", f"seed={seed}")
        for text in ("a/b", "../..", "物理", "x" * 300, "it's, a cat", "${seed}", "..", "")
        for seed in (1, 2)
    ]
    named = slugs(asked)
    assert len(named) == 16 and list(named) == list(slugs(asked))
    for slug in named:
        assert re.fullmatch(r"[A-Za-z0-9_=.,-]{1,70}", slug) and not slug.startswith((".", "-")), slug
    assert all(not any("limit" in override for override in own) for own in named.values())


def test_slugs_do_not_depend_on_the_order_of_overrides() -> None:
    one = slugs([invocation("a=1", "b=1"), invocation("a=1", "b=2"), invocation("a=2", "b=1")])
    other = slugs([invocation("b=1", "a=1"), invocation("b=2", "a=1"), invocation("b=1", "a=2")])
    assert list(one) == list(other)


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(UserError, match="asked for twice"):
        slugs([invocation("a=1"), invocation("a=1")])


@pytest.fixture
def sweep(lab: Any, frozen_clock: Callable[[str], None]) -> Any:
    """A lab with one complete sweep over two seeds."""
    frozen_clock("20260101_120000")
    said = lab.run("-m", "seed=1,2", "limit=3")
    assert said.code == 0, said
    frozen_clock("20260102_120000")
    return lab


def folders(lab: Any, name: str = "echo-rows", stamp: str = "20260101_120000") -> list[Path]:
    return sorted(path for path in (lab.folder / "outputs" / name / stamp).iterdir() if path.is_dir())


def test_the_layout(sweep: Any) -> None:
    place = sweep.folder / "outputs/echo-rows/20260101_120000"
    expected = json.loads((place / "sweep.json").read_text())
    runs = [folder for folder in folders(sweep) if folder.name != "report"]
    assert {folder.name for folder in runs} == set(expected["runs"])
    assert sorted(expected["runs"].values()) == [["seed=1"], ["seed=2"]]
    for run in runs:
        assert re.fullmatch(r"seed=[12]-[0-9a-f]{6}", run.name)
        assert (run / "cases.jsonl").is_file() and (run / "results/echo/summary.json").is_file()
    assert (sweep.folder / "outputs/echo-rows/latest").resolve() == place
    assert not (sweep.folder / "multirun.yaml").exists() and not (sweep.folder / "multirun").exists()


def test_a_sweep_goes_on_where_it_stopped(sweep: Any) -> None:
    shutil.rmtree(folders(sweep)[1])
    dry = sweep("-m", "seed=1,2", "limit=3", "dry_run=true")
    assert "the sweep goes on: 1 of its 2 runs lack something" in dry.out
    assert "nothing pending, 3 reused" in dry.out and "3 pending, 0 reused" in dry.out
    assert sweep.run("-m", "seed=1,2", "limit=3").code == 0
    assert sweep.runs() == ["20260101_120000"] and len(folders(sweep)) >= 2


def test_a_complete_sweep_starts_afresh_and_says_so(sweep: Any) -> None:
    said = sweep.run("-m", "seed=1,2", "limit=3")
    assert said.code == 0 and "20260101_120000, is complete" in said.out
    assert sweep.runs() == ["20260101_120000", "20260102_120000"]


def test_a_changed_key_is_named(sweep: Any) -> None:
    said = sweep("-m", "seed=1,2", "limit=4", "dry_run=true")
    assert "the newest sweep, 20260101_120000, has other settings: limit: 3 -> 4" in said.out
    said = sweep.refuse("-m", "seed=1,2", "limit=4", "reuse=latest")
    assert "limit: differs from the run to go on with" in said.err


def test_eval_of_a_sweep(sweep: Any) -> None:
    said = sweep.run("-m", "mode=eval", "seed=1,2", "metrics.length.scale=2.0")
    assert said.code == 0, said
    assert said.out.count("its scores are computed again") == 2
    assert sweep.runs() == ["20260101_120000"]


def test_a_sweep_over_models_and_lists(lab: Any, frozen_clock: Callable[[str], None]) -> None:
    lab.option("model/other", "_target_: lab.parts.Echo\nstyle: loud\n")
    frozen_clock("20260101_120000")
    said = lab.run("-m", "model=echo,other", "dataset.categories=[red],[物理]", "limit=1")
    assert said.code == 0, said
    runs = [path for path in folders(lab, "sweep") if (path / "cases.jsonl").exists()]
    assert len(runs) == 4 and len({path.name for path in runs}) == 4


def test_disk_space_is_that_of_all_runs_together(lab: Any) -> None:
    import shutil as disk

    half = disk.disk_usage(lab.folder).free / 1e6 / 12 * 0.7
    assert lab("dry_run=true", f"model.disk_mb={half:.1f}").code == 0
    assert "too little disk" in lab.refuse("-m", "seed=1,2", f"model.disk_mb={half:.1f}").err


def test_a_sweep_of_one_run(lab: Any) -> None:
    assert lab.run("--multirun", "limit=2").code == 0
    assert (lab.folder / "outputs/echo-rows" / lab.runs()[0] / "sweep.json").is_file()
