"""Against scipy's matrix root, singular values, pyiqa's features, and distances worked out by hand."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.clip import Clip
from benchmark.media import Video, write_png, write_video
from benchmark.metrics import Item, Measured, SetMetric
from benchmark.metrics.fid.distance import Fid
from benchmark.metrics.fid.frechet import Moments, frechet_distance
from benchmark.metrics.fid.inception import FEATURES, FILE, SHA256, load_inception
from benchmark.records import Case, Prediction

pytest.importorskip("pyiqa")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share a machine: threads of a matrix library that wait for each other take many times as long."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with random weights for the network, scaled so that features do not fade from layer to layer."""
    import torch

    from benchmark.metrics.fid.inception import _without_weights

    torch.manual_seed(0)
    network = _without_weights()
    for parameter in network.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


def pictures(count: int, seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Return pictures (N, H, W, 3) uint8 of coarse noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def save(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        write_png(folder / f"{index}.png", frame)
    return folder


def items(folder: Path, clips: Sequence[np.ndarray], references: Sequence[np.ndarray] = ()) -> list[Item]:
    """Return an item per clip; if there are fewer references, cases share them."""
    made = []
    for index, frames in enumerate(clips):
        inputs = {}
        if references:
            path = folder / "references" / str(index % len(references))
            inputs["reference"] = str(path if path.exists() else save(path, references[index % len(references)]))
        prediction = Prediction(case_id=f"c{index}", sample=0, status="ok", fingerprint="")
        clip = Clip({"frames": save(folder / "outputs" / str(index), frames)})
        made.append(Item(Case(id=f"c{index}", inputs=inputs), prediction, clip))
    return made


def streamed(made: Sequence[Item]) -> Iterator[Item]:
    """Yield items as a worker does, their frames given back after each turn."""
    for one in made:
        yield one
        one.release()


def fid(metric: Fid, made: Sequence[Item]) -> Measured:
    metric.load("cpu")
    found = metric.score_set(streamed(made))["fid"]
    assert isinstance(found, Measured)
    return found


def by_singular_values(a: np.ndarray, b: np.ndarray) -> float:
    """Return the distance of two sets of features (N, D): tr (A B)^(1/2) is the sum of the singular values of X^T Y where
    A = X X^T and B = Y Y^T, so no covariance is made and no root taken."""
    x, y = (((f - f.mean(0)) / np.sqrt(len(f) - 1)) for f in (a, b))
    overlap = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * overlap)


def by_pyiqa(checkpoint: Path, folders: Sequence[Path], mode: str, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Return the features (N, 2048) that pyiqa's own FID takes of the pictures in folders."""
    import torch
    from pyiqa.archs import fid_arch, inception

    monkeypatch.setattr(inception, "FID_WEIGHTS_URL", str(checkpoint))
    network = inception.InceptionV3().eval()
    options = {"num_workers": 0, "device": torch.device("cpu"), "mode": mode, "verbose": False}
    return np.concatenate([fid_arch.get_folder_features(folder, network, **options) for folder in folders]).astype(
        float
    )


def test_moments_in_batches_are_those_of_numpy() -> None:
    features = np.random.default_rng(0).normal(3, [1, 2, 0.1, 5], (103, 4))
    moments = Moments(4)
    for batch in np.split(features, [1, 2, 40, 100]):
        moments.add(batch)
    assert moments.count == 103
    assert moments.mean == pytest.approx(features.mean(0), rel=1e-12)
    assert moments.covariance == pytest.approx(np.cov(features, rowvar=False), rel=1e-10)
    with pytest.raises(ValueError, match="at least 2 frames, there is 0"):
        _ = Moments(4).covariance


def test_distances_by_hand() -> None:
    one = np.ones(1)
    assert frechet_distance(3 * one, 4 * np.eye(1), 1 * one, 9 * np.eye(1)) == pytest.approx(4 + 1)  # (3-1)^2 + (2-3)^2
    a, b = np.diag([1.0, 4.0, 0.0]), np.diag([4.0, 9.0, 16.0])
    assert frechet_distance(np.zeros(3), a, np.array([1.0, 0, 2]), b) == pytest.approx(5 + 1 + 1 + 16)
    assert frechet_distance(np.zeros(3), b, np.zeros(3), b) == pytest.approx(0, abs=1e-9)
    none = np.zeros((3, 3))  # all frames are the same
    assert frechet_distance(np.zeros(3), none, np.ones(3), b) == pytest.approx(3 + 29)
    assert frechet_distance(np.zeros(3), none, np.ones(3), none) == 3


@pytest.mark.parametrize("count", [8, 200], ids=["singular", "regular"])
def test_the_distance_against_scipy(count: int) -> None:
    from scipy.linalg import sqrtm

    chance = np.random.default_rng(1)
    a, b = (chance.normal(mean, 1, (count, 24)) @ chance.normal(0, 1, (24, 24)) for mean in (0, 0.3))
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    step = a.mean(0) - b.mean(0)
    expected = step @ step + np.trace(cov_a + cov_b - 2 * np.real(sqrtm(cov_a @ cov_b)))
    found = frechet_distance(a.mean(0), cov_a, b.mean(0), cov_b)
    assert found == pytest.approx(expected, rel=1e-5 if count == 8 else 1e-9)  # scipy is rough where it is singular
    assert found == pytest.approx(by_singular_values(a, b), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["clean", "legacy_pytorch"])
def test_fid_against_another_way(
    resize: Any, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features by pyiqa's own code, the distance by singular values; 3 clips, 2 references that cases share."""
    clips = [pictures(3, seed) for seed in range(3)]
    references = [pictures(2, 7, 64, 48) // 2, pictures(3, 8, 320, 304) // 3]
    made = items(tmp_path, clips, references)
    found = fid(Fid(checkpoint=checkpoint, frames="all", resize=resize, frame_batch=4), made)
    a = by_pyiqa(checkpoint, [tmp_path / "outputs" / str(n) for n in range(3)], resize, monkeypatch)
    b = by_pyiqa(checkpoint, [tmp_path / "references" / str(n) for n in range(2)], resize, monkeypatch)
    assert a.shape == (9, FEATURES) and b.shape == (5, FEATURES) and a.std(0).mean() > 1e-3
    assert found.value == pytest.approx(by_singular_values(a, b), rel=1e-5)
    assert (found.details["n_output_frames"], found.details["n_reference_frames"]) == (9, 5)
    assert "biased upwards" in found.details["warning"]


@pytest.mark.slow
def test_a_folder_and_its_statistics_give_the_same(checkpoint: Path, tmp_path: Path) -> None:
    """The folder holds pictures, and below it a clip of which 2 frames are looked at."""
    real = save(tmp_path / "real", pictures(3, 3))
    (real / "clips").mkdir()
    write_video(real / "clips" / "a.mp4", Video(pictures(5, 4), 8.0))
    (real / "notes.txt").write_text("no picture")
    made = items(tmp_path, [pictures(4, 5), pictures(1, 6)])
    of_folder = fid(Fid(str(real), checkpoint, frames=2), made)
    assert of_folder.value > 0
    assert (of_folder.details["n_output_frames"], of_folder.details["n_reference_frames"]) == (3, 5)

    inception = load_inception(checkpoint, "clean", "cpu")
    frames = [*pictures(3, 3), *Clip({"video": real / "clips" / "a.mp4"}).frames[[0, 4]]]
    features = inception.features([inception.prepared(frame) for frame in frames])
    np.savez(tmp_path / "real.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    of_statistics = fid(Fid(str(tmp_path / "real.npz"), checkpoint, frames=2), made)
    assert of_statistics.value == pytest.approx(of_folder.value, rel=1e-6)
    assert of_statistics.details["n_reference_frames"] is None


def test_equal_sets_are_at_no_distance(checkpoint: Path, tmp_path: Path) -> None:
    clips = [pictures(2, 1), pictures(2, 2)]
    found = fid(Fid(checkpoint=checkpoint, frames="all"), items(tmp_path, clips, clips))
    assert found.value == pytest.approx(0, abs=1e-6)


def test_too_few_frames(checkpoint: Path, tmp_path: Path) -> None:
    real = save(tmp_path / "real", pictures(1, 0))
    metric = Fid(str(real), checkpoint)
    metric.load("cpu")
    with pytest.raises(ValueError, match=re.escape(f"at least 2 frames of {real}, there is 1")):
        metric.score_set(items(tmp_path / "a", [pictures(2, 1)]))
    save(tmp_path / "real" / "more", pictures(1, 2))
    with pytest.raises(ValueError, match="at least 2 frames of the outputs, there is 1"):
        metric.score_set(items(tmp_path / "b", [pictures(1, 1)]))
    (tmp_path / "real" / "bad.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"bad\.png"):
        metric.score_set(items(tmp_path / "c", [pictures(2, 1)]))


def test_statistics_of_another_network_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "small.npz", mu=np.zeros(64), sigma=np.eye(64))
    metric = Fid(str(tmp_path / "small.npz"), checkpoint)
    assert not list(metric.problems())
    metric.load("cpu")
    with pytest.raises(ValueError, match=r"mu \(64,\) and sigma \(64, 64\), not \(2048,\)"):
        metric.score_set(items(tmp_path, [pictures(2, 1)]))


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        ({"against": "nowhere"}, "against", "there is no such file or folder"),
        ({"against": "empty"}, "against", "holds no pictures or clips"),
        ({"against": "notes.txt"}, "against", "is no .npz file with mu and sigma"),
        ({"against": "other.npz"}, "against", "is no .npz file with sigma"),
        ({"frames": "some"}, "frames", "every_2"),
    ],
)
def test_mistakes_are_told(
    arguments: dict[str, Any], key: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("words")
    np.savez(tmp_path / "other.npz", mu=np.zeros(2))
    (problem,) = Fid(**arguments).problems()
    assert problem.where == f"metrics.fid.{key}" and words in str(problem)


def test_weights_and_what_is_said_of_bad_ones(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (weights,) = Fid().weights()
    assert weights.path == tmp_path / "hub" / "pyiqa" / FILE and weights.fetchable and weights.wrong() == "is missing"
    assert SHA256.startswith(FILE.rpartition("-")[2].removesuffix(".pth"))
    weights.path.parent.mkdir(parents=True)
    weights.path.write_bytes(b"half")
    with pytest.raises(ValueError, match=r"6726825d.pth is damaged \(its SHA256 .*`python -m benchmark fetch`"):
        Fid().load("cpu")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    (tmp_path / "short.pth").write_bytes(checkpoint.read_bytes()[:100_000])
    (problem,) = Fid("references", tmp_path / "short.pth").problems()
    assert problem.where == "metrics.fid.checkpoint" and "is damaged" in problem.wrong
    for name in ("other.pth", "short.pth"):
        with pytest.raises(ValueError, match=rf"{name} is damaged or holds no Inception of FID .*, or name another"):
            Fid(checkpoint=tmp_path / name).load("cpu")


def test_identity_follows_the_user_s_files(checkpoint: Path, tmp_path: Path) -> None:
    real = save(tmp_path / "real", pictures(2, 0))
    before = Fid(str(real), checkpoint).identity()
    assert set(before) == {"checkpoint", "against"} and Fid().identity() == {}
    shutil.copytree(real, tmp_path / "copy")
    assert Fid(str(tmp_path / "copy"), checkpoint).identity() == before
    write_png(real / "another.png", pictures(1, 5)[0])
    assert Fid(str(real), checkpoint).identity() != before


def test_references_are_needed_only_where_they_are_used() -> None:
    assert isinstance(Fid(), SetMetric)
    assert Fid().measures[0].needs == ("reference",) and Fid("folder").measures[0].needs == ()


def test_few_frames_are_told_when_a_run_is_planned() -> None:
    cases = [Case(id=str(n)) for n in range(100)]
    (note,) = Fid(frames=8).review(cases, samples=2)
    assert "1600 frames at most" in note and "biased upwards" in note
    assert not list(Fid(frames=8).review(cases, samples=3)) and not list(Fid(frames="all").review(cases, samples=1))


def test_a_whole_run(lab: Any, checkpoint: Path) -> None:
    save(lab.folder / "real", pictures(3, 0))
    words = [
        "model=ken_burns",
        "model.frames=3",
        "dataset=pictures",
        "metrics=[fid]",
        "limit=2",
        "metrics.fid.frames=2",
    ]
    said = lab.bare(*words, f"metrics.fid.checkpoint={checkpoint}", "metrics.fid.against=real", "debug=true")
    assert said.code == 0, said
    (file,) = lab.folder.glob("outputs/*/latest/results/*/scores.jsonl")
    (record,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert record["metric"] == "fid/fid" and record["status"] == "ok" and record["value"] > 0
    assert record["details"]["n_output_frames"] == 4 and record["details"]["n_reference_frames"] == 3
    assert record["details"]["n_used"] == record["details"]["n_expected"] == 2


def test_a_missing_checkpoint_is_refused_before_anything_starts(lab: Any) -> None:
    save(lab.folder / "real", pictures(2, 0))
    said = lab.bare("model=ken_burns", "metrics=[fid]", "metrics.fid.against=real", "limit=2", "cache_dir=caches")
    assert said.code == 2, said
    for words in (f"{FILE} is missing", "96 MB", str(lab.folder / "caches" / "torch"), "benchmark fetch"):
        assert words in said.err
    assert not (lab.folder / "outputs").exists()
