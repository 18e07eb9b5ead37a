"""The typed config and its frozen form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.config import Compute, StageCompute, read_frozen, typed, without_mistakes
from benchmark.errors import UserError

PLAIN: dict[str, Any] = {"model": {}, "dataset": {}, "prompts": {}, "metrics": {}, "media": {}, "compute": {}}


def test_a_plain_config_gets_its_types() -> None:
    config, problems = typed(PLAIN | {"mode": "eval-only", "compute": {"lease_s": 30, "infer": {"workers": 2}}})
    assert config and not problems
    assert config.mode == "eval" and config.stages == ("eval", "viz")
    assert config.compute.lease_s == 30.0 and config.compute.infer == StageCompute(workers=2)


def test_a_stage_takes_its_own_settings_over_the_common_ones() -> None:
    compute = Compute(workers=4, python="/a", infer=StageCompute(workers=1, devices=[]))
    assert (compute.of("infer").workers, compute.of("infer").devices, compute.of("infer").python) == (1, [], "/a")
    assert (compute.of("eval").workers, compute.of("eval").devices) == (4, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": "x"}, {"limit": 0}, {"limit": True}, {"samples": 0}, {"mode": 3}, {"mode": None}, {"mode": {"a": 1}},
        {"compute": 3}, {"compute": [1]}, {"media": "x"}, {"plugins": "lab"}, {"redo": None}, {"name": 3}, {"model": None},
        {"metrics": {"basic": 3}}, {"unheard_of": 1}, {"seed": 1.5}, {"dry_run": 1}, {"max_attempts": -1},
    ],
)  # fmt: skip
def test_each_wrong_value_is_one_problem_and_hides_nothing(wrong: dict[str, Any]) -> None:
    config, problems = typed(PLAIN | wrong)
    assert config is None and len(problems) == 1
    assert problems[0].where.split(".")[0] == next(iter(wrong))
    assert without_mistakes(PLAIN | wrong, problems) is not None


def test_all_wrong_values_are_told_at_once() -> None:
    wrong = {"compute": {"workers": 0, "lease_s": -1, "infer": {"worker": 1}}, "media": {"crf": "x"}, "seed": -1}
    _, problems = typed(PLAIN | wrong)
    assert {problem.where for problem in problems} == {
        "compute.workers", "compute.lease_s", "compute.infer.worker", "media.crf", "seed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("format: 99\n", "newer format"),
        ("a: [\n", "can't be read"),
        ("format: 1\n", "no frozen config"),
        ("- 1\n", "no frozen"),
    ],
)
def test_files_that_are_no_frozen_config(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        read_frozen(tmp_path / "x.yaml")
    with pytest.raises(UserError, match="can't be read"):
        read_frozen(tmp_path / "missing.yaml")
