"""Every mistake on a command line, alone and together: numbered, exit 2, no traceback, no trace."""

from __future__ import annotations

import os
from typing import Any

import pytest

MODELS = "causal_lm, command, diffusers, echo, ken_burns, precomputed"


def test_six_mistakes_of_different_kinds_in_one_command(lab: Any) -> None:
    rows = [lab.row(i, inputs={"image": "gone.png"} if i == 3 else {}) for i in range(6)]
    lab.rows([*rows, lab.row(2), lab.row(2)])
    faults = ["model.stile=loud", "seed=abc", "dataset.categories=[gren]", "metrics.length._target_=os.system"]
    said = lab.refuse(*faults)
    assert said.problems() == 6
    for words in (
        "model.stile: unknown option\n     given: 'loud'\n     allowed: style, tempo",
        "fix: did you mean `model.style`?",
        "seed: wrong value\n     given: 'abc'\n     allowed: a whole number >= 0",
        "case 'c03': its image can't be read",
        "duplicate ids\n     given: c02 (3x)",
        "dataset.categories: leaves no case: the dataset has none of it\n     given: gren\n     allowed: red, green, 物理",
        "did you mean `green`?",
        "metrics.length._target_: outside the packages that may be imported\n     given: os.system\n",
        "allowed: benchmark, lab",
    ):
        assert words in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "model=ehco",
            [
                "model: no such option",
                "given: ehco",
                f"allowed: {MODELS}",
                "did you mean `echo`?",
            ],
        ),
        ("model=nonesuch", [f"allowed: {MODELS}"]),
        ("modle=echo", ["modle: unknown option", "or `model`?"]),
        ("model.stile=3", ["did you mean `model.style`?"]),
        ("+model.stile=3", ["model.stile: unknown option", "did you mean `model.style`?"]),
        ("model=null", ["takes the name of an option", "allowed: causal_lm"]),
        ("compute=3", ["takes the name of an option"]),
        ("media=3", ["media: wrong value", "settings"]),
        ("media.crf=99", ["media.crf: value out of range", "<= 51"]),
        ("seed=abc", ["seed: wrong value", "a whole number"]),
        ("seed=1,2", ["several values without --multirun", "add --multirun"]),
        ("limit=0", ["limit: value out of range", ">= 1"]),
        ("mode=evil", ["mode: wrong value", "all or infer or eval or viz", "did you mean `eval`?"]),
        ("mode=[a]", ["mode: wrong value"]),
        ("nonsense", ["neither a command nor key=value", "status"]),
        ("statsu", ["did you mean `status`?"]),
        ("reuse=20200101_000000", ["reuse: there is no run in outputs/echo-rows yet"]),
        ("mode=eval", ["there is no run", "mode=all"]),
        ("mode=viz reuse=null", ["needs a run to work on"]),
        ("metrics=[nonesuch]", ["metrics: no such option", "allowed: basic, clip, command, fid, iqa, length, text"]),
        ("metrics=[]", ["nothing to score", "mode=infer"]),
        ("redo=[lenght]", ["did you mean `length`?"]),
        ("redo=[failed] reuse=null", ["nothing to redo"]),
        ("compute.infer.python=/no/such", ["compute.infer.python: no such interpreter"]),
        ("compute.python=/bin/false", ["compute.python: can't run a worker"]),
        ("compute.launcher=loacl", ["no such launcher", "did you mean `local`?"]),
        ("compute.worker=3", ["did you mean `compute.workers`"]),
        ("plugins=[lab,labb]", ["no such package can be found", "given: labb"]),
        ("plugins=[lab.parts]", ["is no name of a package", "plugins=[lab]"]),
        ("model._target_=lab.broken.X", ["the licence server is away", "broken.py, line 1"]),
        ("output_root=/proc/x", ["output_root: /proc can't be written"]),
        ("output_root=rows/rows.json/x", ["is no folder"]),
        ("model.disk_mb=1e12", ["too little disk", "MB are free"]),
        ("metrics.length.reference=true", ["needs each case's reference, which 12 of 12 cases lack"]),
        (
            "model=ken_burns",
            ["model: needs each case's image", "metrics.length: scores text, but the model makes video"],
        ),
        ("seed=${nope}", ["seed: refers to something that can't be found", "nope"]),
        ("name=../x", ["can't name a folder"]),
        ("prompts.template=5", ["""'prompts.template="5"'"""]),
        ("prompts.template={colour}", ["no field `colour`"]),
        ("+model.hf_token=abc", ["named like a secret"]),
        ("++seed=1 +seed=2", ["leave the + away"]),
        ("~nothing", ["nothing: unknown option"]),
        ("dataset.root=elsewhere", ["FileNotFoundError"]),
        ("dataset.categories=red", ["expected a list", "dataset.categories=[red]"]),
        ("-m seed=1,x", ["seed: wrong value", "given: 'x'"]),
        ("-m seed=1,2 model.stile=3", ["did you mean `model.style`?"]),
        ("-m seed=1,1", ["asked for twice"]),
        ("-m reuse=latest seed=1,2", ["has no such sweep of these 2 runs"]),
        ("dry_run=true seed=-1", ["seed: value out of range"]),
    ],
)
def test_each_mistake_alone(lab: Any, words: str, says: list[str]) -> None:
    said = lab.refuse(*words.split())
    said.problems()
    for part in says:
        assert part in said.err


def test_mistakes_beside_each_other_are_all_told(lab: Any) -> None:
    said = lab.refuse("metrics=[length,nonesuch]", "metrics.length.scal=2", "nonsense", "limit=0")
    assert said.problems() == 4
    said = lab.refuse("-m", "seed=1,2", "model=echo,nonesuch", "limit=a,b")
    assert said.problems() == 2


def test_an_unknown_model_hides_no_other_mistake_and_invents_none(lab: Any) -> None:
    lab.rows([lab.row(1), lab.row(1)])
    said = lab.refuse("model=nonesuch", "model.depth=3", "reuse=20200101_000000")
    assert said.problems() == 2
    assert "duplicate ids" in said.err and "model: no such option" in said.err


def test_ids_that_would_leave_the_folder(lab: Any) -> None:
    lab.rows([lab.row(0), {"id": "../x", "category": "red", "prompt": ""}])
    assert "case '../x': its id would leave the run folder" in lab.refuse().err


def test_an_unreadable_picture(lab: Any) -> None:
    (lab.folder / "rows" / "torn.png").write_bytes(b"not a picture")
    lab.rows([lab.row(0, inputs={"image": "torn.png"})])
    assert "its image can't be read" in lab.refuse().err


def test_yaml_that_is_none(lab: Any) -> None:
    lab.option("model/bad", "_target_: lab.parts.Echo\nstyle: [plain\n")
    lab.option("model/latin", "")
    (lab.folder / "conf" / "model" / "latin.yaml").write_bytes(b"style: \xe9\n")
    said = lab.refuse("model=bad")
    assert "bad.yaml, line " in said.err and "is no YAML" in said.err
    assert lab.refuse("model=latin").problems() == 1


def test_an_interpolation_in_an_option_to_a_missing_key(lab: Any) -> None:
    lab.option("model/inter", "_target_: lab.parts.Echo\nstyle: ${nothing.here}\n")
    said = lab.refuse("model=inter")
    assert "model.style: refers to something that can't be found" in said.err
    assert "Error executing job" not in said.err


def test_a_config_dir_that_is_not_there(lab: Any) -> None:
    said = lab.bare("--config-dir=nowhere", "model=echo")
    assert said.code == 2 and "--config-dir: no such folder\n     given: nowhere" in said.err


def test_an_unreachable_plugin(lab: Any) -> None:
    said = lab.bare("--config-dir", "conf", "model=echo", "dataset=rows", "metrics=[length]")
    assert said.code == 2 and "if lab is your package, add it: plugins=[lab]" in said.err


def test_a_read_only_output_root(lab: Any) -> None:
    place = lab.folder / "readonly"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o ro none {place} 2>/dev/null"):
        pytest.skip("mount is not allowed here")
    try:
        assert f"{place} can't be written" in lab.refuse(f"output_root={place}/x").err
    finally:
        os.system(f"umount {place}")


def test_the_value_of_a_secret_variable_is_refused(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_API_KEY", "sesame-opens-12345")
    said = lab.refuse("prompts.negative=${oc.env:LAB_API_KEY}")
    assert "prompts.negative: holds the value of $LAB_API_KEY" in said.err
    assert "sesame" not in said.err


def test_an_unknown_flag_is_the_users_mistake(lab: Any) -> None:
    said = lab.bare("--bogus")
    assert said.code == 2 and "--bogus" in said.err and "Traceback" not in said.err
