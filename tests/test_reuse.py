"""Which run an invocation goes on with, and that nothing of another identity is ever mixed in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from benchmark.config import Config, Frozen
from benchmark.reuse import differences, newest_config
from benchmark.store import Store

# Every key of the config: what changing it does. A key added without a decision here makes a test fail.
CHANGES_PREDICTIONS = {
    "model.style": "loud",
    "model.tempo": "2.0",
    "model.more": "{depth: 1}",
    "prompts.template": "{prompt}!",
    "prompts.negative": "blur",
    "seed": "1",
    "samples": "2",
    "limit": "11",
    "dataset.categories": "[red]",
    "dataset.ids": "[c01]",
    "media.crf": "20",
    "media.pix_fmt": "yuv444p",
    "media.frames": "png",
}
CHANGES_SCORES = {"metrics.length.scale": "2.0"}
CHANGES_NEITHER = {
    "model.batch_size": "4",
    "model.disk_mb": None,  # changes predictions for all genbench knows; used by other tests only
    "metrics.length.batch_size": "4",
    "compute.workers": "3",
    "compute.gpus_per_worker": "0",
    "compute.workers_per_gpu": "2",
    "compute.devices": "[]",
    "compute.lease_s": "30",
    "compute.max_restarts": "1",
    "compute.max_case_deaths": "1",
    "compute.case_timeout_min": "5",
    "compute.infer": "{workers: 2}",
    "compute.eval": "{workers: 2}",
    "max_attempts": "5",
    "debug": "true",
    "keep_media": "failed",
    "cache_dir": "caches",
    "offline": "false",
    "dry_run": "true",
}
CHOOSES_THE_RUN = {"name", "output_root", "reuse", "mode", "redo", "plugins"}
OF_ANOTHER_KIND = {"compute.launcher", "compute.python", "dataset.root", "metrics.length.reference"}


def test_every_key_of_the_config_has_been_decided_upon(lab: Any) -> None:
    decided = {*CHANGES_PREDICTIONS, *CHANGES_SCORES, *CHANGES_NEITHER, *CHOOSES_THE_RUN, *OF_ANOTHER_KIND}
    said = lab("--cfg", "job")
    import yaml

    there: set[str] = set()
    for group, value in yaml.safe_load(said.out).items():
        inner = value.items() if isinstance(value, dict) else []
        for key, deeper in inner:
            at_depth = isinstance(deeper, dict) and group == "metrics"
            there |= {f"{group}.{key}.{leaf}" for leaf in deeper} if at_depth else {f"{group}.{key}"}
        there |= set() if isinstance(value, dict) else {group}
    assert {key for key in there if not key.endswith("_target_")} == decided
    top = {key.split(".")[0] for key in decided}
    assert set(Config.__struct_fields__) == top


@pytest.fixture
def run(lab: Any, frozen_clock: Callable[[str], None]) -> Any:
    """A lab with one complete run."""
    frozen_clock("20260101_120000")
    said = lab.run()
    assert said.code == 0, said
    frozen_clock("20260102_120000")
    return lab


@pytest.mark.parametrize("key", [*CHANGES_PREDICTIONS, *CHANGES_SCORES])
def test_a_key_that_changes_results_is_noticed(run: Any, key: str) -> None:
    new = (CHANGES_PREDICTIONS | CHANGES_SCORES)[key]
    said = run.refuse("reuse=latest", f"{key}={new}")
    assert said.problems() >= 1
    place = said.err.split("1. ")[1]
    assert place.startswith(f"{key}") and "differs from the run to go on with" in place
    assert "given: " in place and "(its records were made with it)" in place and "reuse=null" in place
    dry = run("dry_run=true", f"{key}={new}")
    assert dry.code == 0 and f"has other settings: {key}" in dry.out and "<now>" in dry.out


def test_a_metric_changed_can_be_scored_anew(run: Any) -> None:
    assert "or mode=eval to score its predictions anew" in run.refuse("reuse=latest", "metrics.length.scale=2.0").err
    said = run.run("mode=eval", "metrics.length.scale=2.0")
    assert said.code == 0 and "its scores are computed again" in said.out and "scale: 1.0 -> 2.0" in said.out
    summary = json.loads((run.folder / "outputs/echo-rows/latest/results/echo/summary.json").read_text())
    assert summary["metrics"]["length/length"]["scored"] == 12


@pytest.mark.parametrize("key", [key for key, new in CHANGES_NEITHER.items() if new])
def test_a_key_that_changes_no_result_is_not_noticed(run: Any, key: str) -> None:
    said = run("dry_run=true", "reuse=latest", f"{key}={CHANGES_NEITHER[key]}")
    assert said.code == 0, said
    assert "nothing pending, 12 reused" in said.out


def test_two_spellings_of_a_number_are_one_identity(run: Any) -> None:
    assert "nothing pending" in run("dry_run=true", "reuse=latest", "model.tempo=1").out


def test_a_changed_picture_is_noticed_and_a_moved_dataset_is_not(lab: Any, frozen_clock: Callable[[str], None]) -> None:
    lab.rows([lab.row(i, inputs={"image": "x.png"}) for i in range(4)])
    lab.picture("x.png", 1)
    frozen_clock("20260101_120000")
    assert lab.run().code == 0
    lab.copy_rows("moved")
    said = lab("dry_run=true", "reuse=latest", "dataset.root=moved")
    assert said.code == 0 and "nothing pending, 4 reused" in said.out
    lab.picture("x.png", 2)
    said = lab.refuse("reuse=latest")
    assert "dataset (content): differs" in said.err and "4 cases, their content changed" in said.err
    assert "has changed since the run was made" in lab.refuse("mode=eval").err


def test_a_run_goes_on_after_its_dataset_moved(lab: Any, frozen_clock: Callable[[str], None]) -> None:
    lab.rows([lab.row(i, inputs={"image": "x.png"}) for i in range(4)])
    lab.picture("x.png", 1)
    frozen_clock("20260101_120000")
    assert lab.run("mode=infer").code == 0
    (lab.folder / "rows").rename(lab.folder / "moved")
    assert lab.run("reuse=latest", "dataset.root=moved").code == 0
    cases = list(Store(lab.folder / "outputs/echo-rows/20260101_120000").cases())
    assert {case.inputs["image"] for case in cases} == {str(lab.folder / "moved" / "x.png")}


def interrupt(store: Store, kept: int) -> None:
    """Leave a run as a crash would: with the first predictions only, and no scores."""
    shutil.rmtree(store.folder / ".work")
    shutil.rmtree(store.folder / "results")
    store.journals.mkdir(parents=True)
    merged = store.merged("infer", "echo")
    lines = merged.read_bytes().splitlines(keepends=True)[:kept]
    for path in merged.parent.glob("*"):
        path.unlink()
    (store.journals / "infer-x.jsonl").write_bytes(b"".join(lines))


def test_auto_goes_on_with_the_newest_incomplete_run(run: Any) -> None:
    interrupt(Store(run.folder / "outputs/echo-rows/20260101_120000"), 5)
    said = run("dry_run=true")
    assert "outputs/echo-rows/20260101_120000 (5 of 12 predictions are there)" in said.out
    assert "7 pending, 5 reused" in said.out
    said = run.run()
    assert (
        said.code == 0 and "going on with outputs/echo-rows/20260101_120000: 5 of 12 predictions are there" in said.out
    )
    assert run.runs() == ["20260101_120000"]


def test_auto_starts_afresh_beside_a_complete_run(run: Any) -> None:
    said = run.run()
    assert said.code == 0
    assert "20260102_120000 (20260101_120000, the newest run of these settings, is complete)" in said.out
    assert run.runs() == ["20260101_120000", "20260102_120000"]


def test_auto_names_what_changed_since_the_newest_run(run: Any, frozen_clock: Callable[[str], None]) -> None:
    assert run.run("seed=3").code == 0
    said = run("dry_run=true", "seed=4")
    assert "the newest run, 20260102_120000, has other settings: seed: 3 -> 4" in said.out


def test_more_metrics_complete_a_run(run: Any) -> None:
    run.option("metrics/again", "# @package metrics.again\n_target_: lab.parts.Length\nscale: 3.0\n")
    said = run.run("metrics=[length,again]")
    assert said.code == 0 and "all predictions and 12 of 24 scores are there" in said.out


def test_null_latest_and_a_timestamp(run: Any) -> None:
    assert "reuse=null" in run("dry_run=true", "reuse=null").out
    for which in ("latest", "20260101_120000"):
        said = run("dry_run=true", f"reuse={which}")
        assert said.code == 0 and f"20260101_120000 (reuse={which}; it is complete)" in said.out
    said = run.refuse("reuse=20260101_120001")
    assert "allowed: latest, 20260101_120000" in said.err and "did you mean `20260101_120000`?" in said.err


def test_eval_takes_everything_from_the_run(run: Any, frozen_clock: Callable[[str], None]) -> None:
    assert run.run("seed=7", "limit=3", "model.style=loud", "mode=infer").code == 0
    before = newest_config(Store(run.folder / "outputs/echo-rows/20260102_120000"))
    said = run.run("mode=eval")
    assert said.code == 0, said
    after = newest_config(Store(run.folder / "outputs/echo-rows/20260102_120000"))
    assert (after.seed, after.limit, after.model["style"]) == (7, 3, "loud")
    assert after.prediction == before.prediction and after.mode == "eval"


@pytest.mark.parametrize("mode", ["eval", "viz"])
def test_what_contradicts_the_run_is_refused(run: Any, mode: str) -> None:
    said = run.refuse(f"mode={mode}", "seed=3", "dataset.root=elsewhere", "media={crf: 3}")
    assert said.problems() == 3
    assert "seed: differs from the run" in said.err and "given: 3" in said.err
    assert run("dry_run=true", f"mode={mode}", "seed=0").code == 0


def test_another_model_contradicts_the_run(run: Any) -> None:
    run.option("model/other", "_target_: lab.parts.Echo\n")
    said = run.refuse("mode=eval", "name=echo-rows", "model=other")
    assert "model: differs from the run" in said.err and "given: other" in said.err


def test_eval_adds_metrics_and_keeps_those_of_the_run(run: Any) -> None:
    run.option("metrics/again", "# @package metrics.again\n_target_: lab.parts.Length\nscale: 3.0\n")
    said = run.bare("debug=true", *run.options[:-1], "metrics=[again]", "mode=eval")
    assert said.code == 0, said
    summary = json.loads((run.folder / "outputs/echo-rows/latest/results/echo/summary.json").read_text())
    assert {name: m["scored"] for name, m in summary["metrics"].items()} == {"length/length": 12, "again/length": 12}


def test_eval_without_metrics_takes_those_of_the_run(run: Any) -> None:
    said = run.bare("debug=true", *run.options[:-1], "mode=eval")
    assert said.code == 0 and "length" in said.out and "basic" not in said.out


def test_versions_and_component_identities_count(run: Any) -> None:
    import lab.parts

    lab.parts.Echo.version = "2"
    said = run.refuse("reuse=latest")
    assert "model.version: differs" in said.err and "fix: reuse=null to start afresh" in said.err


def test_an_unreadable_run_is_left_alone(run: Any) -> None:
    (run.folder / "outputs/echo-rows/20260101_120000/configs/config.yaml").write_text("format: 99\n")
    said = run("dry_run=true")
    assert said.code == 0 and "20260101_120000 is left alone: is of a newer format" in said.out


def test_the_frozen_config_is_the_same_after_reading(run: Any) -> None:
    store = Store(run.folder / "outputs/echo-rows/20260101_120000")
    frozen = newest_config(store)
    assert isinstance(frozen, Frozen) and (store.configs / f"{frozen.digest}.yaml").exists()
    assert msgspec.convert(msgspec.to_builtins(frozen), Frozen) == frozen


def test_differences_see_what_fingerprints_see() -> None:
    assert differences({"a": 1, "b": None}, {"a": 1.0, "b": None}) == {"a": (1, 1.0)}
    assert differences({"a": float("nan")}, {"a": float("nan")}) == {}
