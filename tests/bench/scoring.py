"""Scoring: 64 real clips by PSNR, SSIM, MS-SSIM, PIQE and temporal flickering, as a run does it and as others do it.

    python tests/bench/scoring.py [CLIPS] [MINUTES]

A prediction is a segment of a film compressed hard, its reference the segment itself. Compared with (a) the same pyiqa calls
metric by metric, with a decode each and a call per frame, as VBench and pyiqa's own command do; (a') the same with a whole
clip per call; (b) decoding alone, the floor. Values have to agree. Then a film of MINUTES is scored: memory has to stay flat.
Each part is a process of its own, so that its peak of memory is its own. Importing and loading is left out of all times.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from films import FRAMES, HEIGHT, WIDTH, cut, long_film
from harness import frozen_run, report, scratch

from benchmark import clip, media, merge
from benchmark.metrics import iqa_loading, iqa_scoring
from benchmark.metrics.basic import Basic, temporal_flickering
from benchmark.metrics.iqa import Iqa
from benchmark.worker import Worker

PYIQA = ("psnr", "ssim", "ms_ssim", "piqe")
AGREE = 1e-4
DECODING = "decoding"
Values = dict[str, dict[str, float]]


class Part(NamedTuple):
    """What one way of scoring took and gave: values by clip and metric, seconds by what they were spent on."""

    seconds: float
    values: Values
    spent: dict[str, float]
    before_mb: float
    peak_mb: float


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def networks() -> dict[str, Any]:
    """Make pyiqa's metrics and use each once: the first call sets up thread pools."""
    import pyiqa
    import torch

    made = {name: pyiqa.create_metric(name, device=torch.device("cpu")) for name in PYIQA}
    grey = torch.full((1, 3, HEIGHT, WIDTH), 0.5)
    for metric in made.values():
        metric(*[grey] * (1 + (metric.metric_mode == "FR")))
    return made


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Have what our scoring spends its time on added up."""
    spent: dict[str, float] = defaultdict(float)

    def timed(function: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name(*args)] += time.perf_counter() - start

        return wrapped

    def decoded(files: Any) -> Iterator[np.ndarray]:
        frames, following = stream(files), timed(next, lambda *_: DECODING)
        while (frame := following(frames, None)) is not None:
            yield frame

    stream = clip.stream
    with ExitStack() as stack:
        for owner, attribute, name in (
            (iqa_scoring, "_call", lambda metric, entry, *_: entry.name),
            (Basic, "score", lambda *_: "temporal_flickering"),
            (Iqa, "load", lambda *_: "loading"),
        ):
            stack.enter_context(patch.object(owner, attribute, timed(getattr(owner, attribute), name)))
        stack.enter_context(patch.object(clip, "stream", decoded))
        yield spent


def ours(root: Path, frames: str | int = "all", limit: int | None = None, quick: bool = True) -> Part:
    """Score as a run does: one worker, every clip decoded once for all metrics, frames in batches.

    Unless it is `quick`, SSIM and MS-SSIM keep pyiqa's own filter; `limit` is a number of clips.
    """
    networks()
    if not quick:
        iqa_loading.use_separable_windows = lambda: None
    folders = {"path": str(root / "clips"), "reference": str(root / "originals")}
    plain = {
        "model": {"_target_": "benchmark.model.existing.precomputed.Precomputed", "path": str(root / "clips")},
        "dataset": {"_target_": "benchmark.dataset.folder.Folder", **folders},
        "prompts": {"_target_": "benchmark.prompts.plain.Plain"},
        "metrics": {
            "basic": {"_target_": "benchmark.metrics.basic.Basic", "names": ["temporal_flickering"]},
            "iqa": {"_target_": "benchmark.metrics.iqa.Iqa", "names": list(PYIQA), "frames": frames},
        },
        "media": {}, "compute": {}, "output_root": str(root), "name": "bench", "reuse": None, "limit": limit,
    }  # fmt: skip
    store, frozen = frozen_run(plain, "precomputed", "folder")
    for stage in ("infer", "eval"):
        before, start = peak_mb(), time.perf_counter()
        with watched() as spent:
            worker = Worker(store, stage, frozen, "w0")
            worker.run()
            worker.journal.end("done")
        seconds = time.perf_counter() - start - spent.pop("loading", 0)
    values: Values = defaultdict(dict)
    for score in merge.scores(store, frozen.model_name, merge.predictions(store, frozen.model_name)):
        assert score.value is not None, score.error
        values[str(score.case_id)][score.metric.split("/")[1]] = score.value
    return Part(seconds, dict(values), dict(spent), before, peak_mb())


def one_after_another(root: Path, per_call: int, limit: int) -> Part:
    """Score `limit` clips metric by metric with a decode each, `per_call` frames a call."""
    import torch

    made, values, spent, before = networks(), defaultdict[str, Any](dict), {}, peak_mb()
    begin = time.perf_counter()
    for name in (*PYIQA, "temporal_flickering"):
        start = time.perf_counter()
        for path in sorted((root / "clips").iterdir())[:limit]:
            frames = media.read_video(path)[0]
            if name == "temporal_flickering":
                values[path.stem][name] = temporal_flickering(frames)
                continue
            sides = [frames]
            if made[name].metric_mode == "FR":
                sides.append(media.read_video(root / "originals" / path.name)[0])
            found = []
            for first in range(0, len(frames), per_call):
                pixels = [torch.from_numpy(side[first : first + per_call]) for side in sides]
                with torch.inference_mode():
                    found += made[name](*[p.permute(0, 3, 1, 2).float() / 255 for p in pixels]).reshape(-1).tolist()
            values[path.stem][name] = float(np.mean(found))
        spent[name] = time.perf_counter() - start
    return Part(time.perf_counter() - begin, dict(values), spent, before, peak_mb())


def decoding(root: Path) -> Part:
    """Decode every clip and every reference once."""
    start = time.perf_counter()
    for path in sorted(root.glob("*/*.mp4")):
        media.read_video(path)
    return Part(time.perf_counter() - start, {}, {}, 0, peak_mb())


def alone(function: Callable[..., Part], *args: Any) -> Part:
    """Run a part in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def differ(one: Values, other: Values) -> float:
    """Return the largest difference of two sets of values; the second may have more clips."""
    assert one and all(one[key].keys() == other[key].keys() for key in one), "other clips or metrics"
    return max(abs(one[key][name] - other[key][name]) for key in one for name in one[key])


def shares(part: Part) -> str:
    """Return where the time went, the largest share first; decoding happens partly beside the rest, on a thread."""
    ordered = sorted(part.spent.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {100 * seconds / part.seconds:.0f} %" for name, seconds in ordered)


def short_clips(root: Path, n: int) -> None:
    cut(root, n)
    some = max(1, n // 8)  # for what is printed for comparison alone
    mine, floor, own = alone(ours, root), alone(decoding, root), alone(ours, root, "all", some, False)
    for title, target, per_call, limit in (
        ("scoring, (a) metric by metric, frame by frame, over ours", "at least 2.5", 1, n),
        (f"scoring, (a') metric by metric, a clip a call, over ours, by {some} clips", "no target", FRAMES, some),
    ):
        theirs = alone(one_after_another, root, per_call, limit)
        apart = differ(theirs.values, mine.values)
        assert apart < AGREE, f"values differ by {apart}"
        ratio = theirs.seconds / limit / (mine.seconds / n)
        detail = f"{theirs.seconds:.1f} s; values differ by at most {apart:.0e}"
        report(title, ratio, target, f"{mine.seconds:.1f} s for {n} clips against {detail}")
        print(f"  time of the others: {shares(theirs)}; peak {theirs.peak_mb:,.0f} MB")
        ratio = theirs.seconds / limit / (own.seconds / some)
        print(f"  over ours with pyiqa's own filter, so by one decode, batches and threads alone: {ratio:.2f}x")
    detail = f"{mine.seconds:.1f} s / {floor.seconds:.1f} s"
    report("scoring, ours over (b) decoding alone", mine.seconds / floor.seconds, "the floor is 1", detail)
    print(f"  our time: {shares(mine)}; peak {mine.peak_mb:,.0f} MB, {mine.before_mb:,.0f} MB of it before scoring")


def long_clip(root: Path, minutes: float) -> None:
    (root / "clips").mkdir(parents=True)
    (root / "originals").mkdir()
    n = long_film(root / "clips" / "long.mp4", minutes)
    (root / "clips" / "ten_seconds.mp4").replace(root / "originals" / "long.mp4")
    (root / "originals" / "long.mp4").write_bytes((root / "clips" / "long.mp4").read_bytes())
    part = alone(ours, root, 64)
    whole_mb = n * 640 * 360 * 3 / 1e6
    print(
        f"scoring {minutes:g} minutes of 640x360 ({n} frames, {whole_mb:,.0f} MB of pixels, and a reference as long; "
        f"temporal_flickering on all, the others on 64 frames): {part.seconds:.0f} s; {shares(part)}; "
        f"peak {part.peak_mb:,.0f} MB, {part.before_mb:,.0f} MB of it before scoring"
    )
    assert part.peak_mb - part.before_mb < min(1000, whole_mb), "memory grows with the clip"


def main(n: int = 64, minutes: float = 10) -> None:
    with scratch() as folder:
        short_clips(Path(folder) / "short", n)
        if minutes:
            long_clip(Path(folder) / "long", minutes)


if __name__ == "__main__":
    main(*[kind(word) for kind, word in zip((int, float), sys.argv[1:], strict=False)])
