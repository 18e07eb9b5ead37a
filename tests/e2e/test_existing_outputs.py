"""Outputs that another program made: recorded and scored where they lie, by whole commands."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Bench

from benchmark.media import Video, write_png, write_video

BASIC = ("metrics=[basic]", "metrics.basic.names=[temporal_flickering,motion_magnitude]")


def frames(shade: int, flicker: int = 0, n: int = 4) -> np.ndarray:
    """Return n grey frames (n, 32, 32, 3), every other one brighter by `flicker`."""
    pixels = np.full((n, 32, 32, 3), shade, np.uint8)
    pixels[1::2] += np.uint8(flicker)
    pixels[:, :8, :8] = 200  # some texture, so that no frame is one plain colour
    return pixels


def clip(path: Path, shade: int = 60, flicker: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, Video(frames(shade, flicker), 8.0))
    return path


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder: inode, time of change and content."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def run_folder(folder: Path) -> Path:
    return next(folder.glob("outputs/*/latest")).resolve()


def predictions(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    file = run_folder(folder) / "predictions" / "precomputed" / "predictions.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return {(record["case_id"], record["sample"]): record for record in records}


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((run_folder(folder) / "results" / "precomputed" / "summary.json").read_text())


def test_clips_are_recorded_and_scored_where_they_lie(bench: Bench) -> None:
    paths = {"a-one": clip(bench.folder / "clips/a/one.mp4"), "a-two": clip(bench.folder / "clips/a/two.mp4", 60, 20)}
    paths |= {"three": clip(bench.folder / "clips/three.mp4", 90), "b c-x y": clip(bench.folder / "clips/b c/x y.mp4")}
    before = state(bench.folder / "clips")

    command = ("dataset=folder", "dataset.path=clips", "model=precomputed", "model.path=clips", *BASIC)
    code, output = bench.run(*command, studio=False)

    assert code == 0, output
    assert "4 of 4 outputs found in clips: 4 by id" in output
    assert "match no case" not in output and "not found" not in output
    assert state(bench.folder / "clips") == before, "the originals are as they were"
    records = predictions(bench.folder)
    assert {case_id for case_id, _ in records} == set(paths)
    for case_id, path in paths.items():
        record = records[case_id, 0]
        assert record["files"] == {"video": str(path)}
        assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (record["width"], record["height"], record["frames"], record["fps"]) == (32, 32, 4, 8.0)
    kept = [path.name for path in (bench.latest / "predictions").rglob("*") if path.is_file()]
    assert kept == ["predictions.jsonl"], "nothing was copied"
    scores = {(each["case_id"], each["metric"]): each["value"] for each in bench.records("scores")}
    assert scores["a-one", "basic/temporal_flickering"] == pytest.approx(1.0)
    textured = 1 - 64 / 1024  # the corner of 8 x 8 does not flicker
    assert scores["a-two", "basic/temporal_flickering"] == pytest.approx(1 - 20 / 255 * textured, abs=0.01)
    overall = bench.summary()["metrics"]["basic/motion_magnitude"]["overall"]
    assert (overall["count"], overall["coverage"]) == (4, 1.0)


def test_a_missing_and_a_broken_clip_fail_alone_and_the_same_command_goes_on(bench: Bench) -> None:
    for name in "abcd":
        clip(bench.folder / f"cases/{name}.mp4")
    shutil.copytree(bench.folder / "cases", bench.folder / "clips")
    (bench.folder / "clips/b.mp4").unlink()
    whole = (bench.folder / "clips/c.mp4").read_bytes()
    (bench.folder / "clips/c.mp4").write_bytes(whole[:200])
    clip(bench.folder / "clips/extra.mp4")
    command = ("dataset=folder", "dataset.path=cases", "model=precomputed", "model.path=clips", *BASIC)

    code, output = bench.run(*command, studio=False)

    assert code == 1, output
    assert "3 of 4 outputs found" in output
    assert "1 of 4 outputs not found: b\n" in output
    assert "1 of 4 outputs match no case: extra.mp4" in output
    assert "2/4" in output
    records = predictions(bench.folder)
    assert {case_id: record["status"] for (case_id, _), record in records.items()} == {
        "a": "ok", "b": "failed", "c": "failed", "d": "ok"}  # fmt: skip
    assert "looked for `b`" in records["b", 0]["error"]
    assert "c.mp4" in records["c", 0]["error"]
    assert bench.summary()["metrics"]["basic/temporal_flickering"]["overall"]["coverage"] == 0.5

    clip(bench.folder / "clips/b.mp4")
    (bench.folder / "clips/c.mp4").write_bytes(whole)
    code, output = bench.run(*command, studio=False)
    assert code == 0, output
    assert "going on with" in output and "4/4" in output
    assert len(bench.runs) == 1


def test_a_clip_that_changed_since_it_was_recorded_is_not_scored(bench: Bench) -> None:
    for name in "ab":
        clip(bench.folder / f"clips/{name}.mp4")
    file = bench.folder / "list.jsonl"
    file.write_text("".join(json.dumps({"id": name, "prompt": f"clip {name}"}) + "\n" for name in "ab"))
    command = ("dataset=manifest", "dataset.path=list.jsonl", "model=precomputed", "model.path=clips", *BASIC)
    assert bench.run(*command, "mode=infer", studio=False)[0] == 0
    clip(bench.folder / "clips/b.mp4", 90)

    code, output = bench.run(*command, "mode=eval", studio=False)

    assert code == 1, output
    scores = {each["case_id"]: each for each in bench.records("scores") if "flickering" in each["metric"]}
    assert scores["a"]["status"] == "ok"
    assert scores["b"]["status"] == "failed" and "changed" in scores["b"]["error"]


def test_samples_by_vbench_names(lab: Any) -> None:
    prompts = ["A cat, resting.", "in a still frame, a stop sign"]
    lab.rows([lab.row(i, prompt=prompt) | {"id": f"{i:03d}"} for i, prompt in enumerate(prompts)])
    for prompt in prompts:
        for sample in range(3):
            clip(lab.folder / "videos" / f"{prompt}-{sample}.mp4", 50 + 10 * sample)

    said = lab.run("model=precomputed", "model.path=videos", "samples=2", *BASIC)

    assert said.code == 0, said
    assert "4 of 4 outputs found in videos: 4 by VBench's" in said.out
    assert "samples=3 scores them all" in said.out
    assert "2 of 6 outputs match no case: A cat, resting.-2.mp4" in said.out
    records = predictions(lab.folder)
    assert {key: Path(record["files"]["video"]).name for key, record in records.items()} == {
        (f"{i:03d}", sample): f"{prompt}-{sample}.mp4" for i, prompt in enumerate(prompts) for sample in range(2)
    }
    assert summary(lab.folder)["predictions"]["ok"] == 4


def test_samples_by_pattern_and_folders_of_frames(lab: Any) -> None:
    lab.rows([lab.row(i) for i in range(3)])
    for i, colour in enumerate(("red", "green", "物理")):
        for sample in range(2):
            folder = lab.folder / "out" / colour / f"c{i:02d}" / f"take{sample:02d}" / "frames"
            folder.mkdir(parents=True)
            for number, pixels in enumerate(frames(60)):
                write_png(folder / f"{number:03d}.png", pixels)
    pattern = "model.pattern={category}/{id}/take{sample:02d}/frames"

    said = lab.run("model=precomputed", "model.path=out", pattern, "samples=2", *BASIC)

    assert said.code == 0, said
    assert "6 of 6 outputs found in out: 6 by the pattern" in said.out
    record = predictions(lab.folder)["c02", 1]
    assert record["files"] == {"frames": str(lab.folder / "out" / "物理" / "c02" / "take01" / "frames")}
    assert (record["frames"], record["fps"]) == (4, None)


def test_answers_of_a_list_are_scored_as_text(lab: Any) -> None:
    rows = [{"id": f"c{i:02d}", "text": "x" * i} for i in range(11)]
    (lab.folder / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    said = lab.run("model=precomputed", "model.path=answers.jsonl", "metrics=[length]")

    assert said.code == 1, said
    assert "11 of 12 outputs found" in said.out
    assert predictions(lab.folder)["c07", 0]["text"] == "x" * 7
    overall = summary(lab.folder)["metrics"]["length/length"]["overall"]
    assert (overall["mean"], overall["count"]) == (5.0, 11)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "model.path: is not given"),
        (("model.path=clibs",), "did you mean `clips`?"),
        (("model.path=clips", "model.pattern={idd}.mp4"), "did you mean `id`?"),
        (("model.path=clips",), "none of its 1 outputs is that of a case: other.mp4"),
    ],
)
def test_what_can_not_work_is_refused_before_anything_is_written(lab: Any, words: tuple[str, ...], said: str) -> None:
    clip(lab.folder / "clips" / "other.mp4")
    refused = lab.refuse("model=precomputed", *words, *BASIC)
    assert said in refused.err, refused.err


@pytest.mark.slow
def test_two_hundred_clips_in_reasonable_time(bench: Bench) -> None:
    first = clip(bench.folder / "clips/c000.mp4")
    for i in range(1, 200):
        shutil.copy(first, bench.folder / f"clips/c{i:03d}.mp4")
    start = time.monotonic()
    command = ("dataset=folder", "dataset.path=clips", "model=precomputed", "model.path=clips", *BASIC)
    code, output = bench.run(*command, studio=False)
    assert code == 0, output
    assert re.search(r"200/200", output)
    assert time.monotonic() - start < 60, "0.3 s a clip is more than opening one takes"
