"""The plan: what is frozen of it, and what planning does on the machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from benchmark.config import Frozen, read_frozen
from benchmark.resources import launchers
from benchmark.store import Store


def newest(lab: Any) -> Store:
    return Store((lab.folder / "outputs/echo-rows/latest").resolve())


def frozen_of(lab: Any) -> Frozen:
    return read_frozen(newest(lab).configs / "config.yaml")


def test_a_frozen_run_holds_all_that_its_workers_need(lab: Any) -> None:
    assert lab.run("limit=4", "seed=3", "prompts.template={prompt}, please").code == 0
    frozen, store = frozen_of(lab), newest(lab)
    assert frozen.choices == {"model": "echo", "dataset": "rows", "prompts": "plain"}
    assert frozen.plugin_folders == {"lab": str(lab.folder / "lab")}
    assert (frozen.seed, frozen.limit, frozen.cases.n, len(store.cases())) == (3, 4, 4, 4)
    assert frozen.prediction.keys["model.version"] == "1" and "model.batch_size" not in frozen.prediction.keys
    assert "model.batch_size" not in str(frozen.prediction.keys)
    overrides = yaml.safe_load((store.configs / "overrides.yaml").read_text())
    assert "prompts.template={prompt}, please" in [o.replace("'", "") for o in overrides] and "seed=3" in overrides
    environment = json.loads((store.configs / "environment.json").read_text())
    assert environment["packages"]["hydra-core"] and environment["host"]


def test_editing_an_option_changes_nothing_in_a_run_that_exists(lab: Any) -> None:
    assert lab.run("mode=infer", "limit=2").code == 0
    lab.option("model/echo", "_target_: lab.parts.Echo\nstyle: loud\n")
    assert lab.run("mode=eval").code == 0
    assert frozen_of(lab).model["style"] == "plain"


def test_nested_settings_named_like_execution_only_ones_count(lab: Any) -> None:
    said = lab("dry_run=true", "model.more={batch_size: 3}", "model.batch_size=8")
    assert said.code == 0
    assert lab.run("limit=1", "model.more={batch_size: 3}").code == 0
    assert frozen_of(lab).prediction.keys["model.more.batch_size"] == 3


def test_samples_limit_name_and_output_root(lab: Any) -> None:
    assert lab.run("samples=2", "limit=3", "name=mine", "output_root=deep/er").code == 0
    lines = (lab.folder / "deep/er/mine/latest/predictions/echo/predictions.jsonl").read_text().splitlines()
    made = [json.loads(line) for line in lines]
    assert sorted({(p["case_id"], p["sample"]) for p in made}) == [(f"c0{i}", s) for i in range(3) for s in range(2)]
    assert len({p["seed"] for p in made}) == 6


def test_an_experiment_overrides_and_is_overridden(lab: Any) -> None:
    assert "cases    6:" in lab("dry_run=true", "experiment=six").out
    assert "cases    2:" in lab("dry_run=true", "experiment=six", "limit=2").out


def test_redo(lab: Any) -> None:
    assert lab.run("limit=2").code == 0
    said = lab("dry_run=true", "limit=2", "redo=[infer]")
    assert "(to redo a part of it)" in said.out and "infer    2 pending, 0 reused" in said.out
    said = lab("dry_run=true", "limit=2", "redo=[length]")
    assert "infer    nothing pending, 2 reused" in said.out and "eval     2 pending" in said.out


def test_two_runs_in_one_second_get_folders_of_their_own(lab: Any, frozen_clock: Any) -> None:
    frozen_clock("20260101_120000")
    for _ in range(3):
        assert lab.run("limit=1", "reuse=null").code == 0
    assert lab.runs() == ["20260101_120000", "20260101_120000_2", "20260101_120000_3"]
    assert "20260101_120000_3 (reuse=latest" in lab("dry_run=true", "limit=1", "reuse=latest").out


def test_launchers_are_those_that_can_launch() -> None:
    assert "local" in launchers() and "slot" not in launchers()


def test_debug_needs_the_local_launcher(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmark.resources

    monkeypatch.setattr(benchmark.resources, "launchers", lambda: ["local", "far"])
    said = lab.refuse("debug=true", "compute.launcher=far")
    assert "debug: runs in this process" in said.err


def test_a_component_whose_check_of_itself_fails(lab: Any) -> None:
    text = (lab.folder / "lab" / "parts.py").read_text()
    raising = '    def problems(self):\n        raise KeyError("gauge")\n\n    def output_mb(self):'
    (lab.folder / "lab" / "parts.py").write_text(text.replace("    def output_mb(self):", raising))
    assert "its check of itself failed: KeyError: 'gauge'" in lab.refuse().err
