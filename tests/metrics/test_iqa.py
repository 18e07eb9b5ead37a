"""benchmark.metrics.iqa: against scikit-image and against pyiqa itself, called frame by frame with its own filters."""

from __future__ import annotations

import re
import urllib.error
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import clip as clips
from benchmark import media
from benchmark.clip import Clip
from benchmark.dataset.pictures import PICTURES, locate
from benchmark.framing import crop_resize
from benchmark.metrics import Item, Measured, Metric, iqa_catalogue, iqa_loading, iqa_scoring, iqa_weights
from benchmark.metrics.iqa import Iqa
from benchmark.model import Checked, Identified, Weighted
from benchmark.records import Case, Prediction

torch = pytest.importorskip("torch")
pytest.importorskip("pyiqa")
QUICK = ["psnr", "ssim", "ms_ssim", "piqe", "gmsd"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def frames_of(name: str, width: int, height: int, length: int) -> np.ndarray:
    """A window that moves over a photograph by two pixels a frame: (T, H, W, 3) uint8."""
    path = locate(PICTURES[name])
    assert path is not None
    wide = crop_resize(media.read_image(path), width + 2 * length, height)
    return np.stack([wide[:, 2 * t : 2 * t + width] for t in range(length)])


def noisy(frames: np.ndarray, sigma: float) -> np.ndarray:
    return (frames + np.random.default_rng(0).normal(0, sigma, frames.shape)).clip(0, 255).astype(np.uint8)


def folder_of(root: Path, frames: np.ndarray) -> Path:
    root.mkdir(parents=True)
    for index, pixels in enumerate(frames):
        media.write_png(root / f"{index}.png", pixels)
    return root


def item(root: Path, made: np.ndarray, reference: np.ndarray | None = None, prompt: str = "") -> Item:
    """A prediction with lossless frames below `root`; a reference of one frame is a picture."""
    inputs = {}
    if reference is not None and len(reference) == 1:
        root.mkdir(parents=True)
        media.write_png(root / "reference.png", reference[0])
        inputs["reference"] = str(root / "reference.png")
    elif reference is not None:
        inputs["reference"] = str(folder_of(root / "reference", reference))
    prediction = Prediction(case_id=root.name, sample=0, status="ok", fingerprint="f")
    output = Clip({"frames": folder_of(root / "frames", made)})
    return Item(Case(id=root.name, prompt=prompt, inputs=inputs), prediction, output)


def value(measured: Any) -> float:
    assert isinstance(measured, Measured), measured
    return measured.value


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """pyiqa's metrics as pyiqa makes them, with its own two-dimensional filter."""
    import pyiqa
    import pyiqa.archs.ssim_arch as ssim
    from pyiqa.matlab_utils import filter2

    found = {name: pyiqa.create_metric(name, device=torch.device("cpu")) for name in (*QUICK, "psnry", "ssimc")}

    def own(name: str, *pictures: np.ndarray) -> float:
        before, ssim.filter2 = ssim.filter2, filter2
        try:
            tensors = [torch.from_numpy(p[None].astype(np.float32) / 255).permute(0, 3, 1, 2) for p in pictures]
            with torch.inference_mode():
                return float(found[name](*tensors))
        finally:
            ssim.filter2 = before

    return {name: lambda *pictures, name=name: own(name, *pictures) for name in found}


def test_it_satisfies_the_protocols() -> None:
    metric = Iqa(["psnr"])
    for protocol in (Metric, Checked, Identified, Weighted):
        assert isinstance(metric, protocol)
    assert metric.identity()["pyiqa"]


@pytest.mark.parametrize("frame_batch", [1, 3, 16])
def test_values_are_pyiqas_own_frame_by_frame(frame_batch: int, plain: dict[str, Any], tmp_path: Path) -> None:
    """Clips of two sizes and other lengths in one call, so that batches cross clips."""
    made = [
        (frames_of("chelsea", 240, 184, 5), 8.0),
        (frames_of("rocket", 240, 184, 4), 20.0),
        (frames_of("coffee", 192, 200, 3), 3.0),
    ]
    items = [item(tmp_path / str(i), noisy(clean, sigma), clean) for i, (clean, sigma) in enumerate(made)]
    metric = Iqa(QUICK, frame_batch=frame_batch)
    metric.load("cpu")
    for (clean, sigma), scores in zip(made, metric.score(items), strict=True):
        assert not isinstance(scores, Exception) and list(scores) == QUICK
        for name, found in scores.items():
            pairs = zip(noisy(clean, sigma), clean, strict=True)
            expected = [plain[name](*(pair[:1] if name == "piqe" else pair)) for pair in pairs]
            assert value(found) == pytest.approx(np.mean(expected), rel=1e-5), name
            assert isinstance(found, Measured)
            assert found.details["values"] == pytest.approx(expected, rel=1e-5)
            assert found.details["frames"] == list(range(len(clean)))


def test_psnr_and_ssim_are_scikit_images(tmp_path: Path) -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    clean = frames_of("chelsea", 200, 180, 2)
    metric = Iqa(["psnr", "ssim"])
    metric.load("cpu")
    (scores,) = metric.score([item(tmp_path / "x", noisy(clean, 10), clean)])
    assert not isinstance(scores, Exception)
    pairs = list(zip(clean, noisy(clean, 10), strict=True))
    assert value(scores["psnr"]) == pytest.approx(
        np.mean([peak_signal_noise_ratio(*pair, data_range=255) for pair in pairs]), abs=1e-3
    )
    # As Wang et al.: Gaussian window of 1.5 in 11x11, population statistics, on luma rounded to whole levels.
    gaussian: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    luma = [[np.round(p @ np.array([0.299, 0.587, 0.114])) for p in pair] for pair in pairs]
    expected = np.mean([structural_similarity(*pair, data_range=255, **gaussian) for pair in luma])
    assert value(scores["ssim"]) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("name", sorted(set(iqa_weights.FREE) - {"mad"}))
def test_a_batch_gives_what_single_frames_give(name: str, tmp_path: Path) -> None:
    """Of every metric that needs no weights; `mad` takes half a minute a frame and loops over pictures."""
    clean = np.concatenate([frames_of(which, 200, 184, 1) for which in ("chelsea", "rocket", "coffee")])
    made, found = noisy(clean, 12), []
    made[1] //= 2
    for size in (1, 3):
        metric = Iqa([name], frame_batch=size)
        metric.load("cpu")
        (scores,) = metric.score([item(tmp_path / str(size), made, clean)])
        assert not isinstance(scores, Exception)
        measured = scores[name]
        assert isinstance(measured, Measured)
        found.append(measured.details["values"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert len(set(found[0])) == 3


def test_a_window_that_is_no_product_keeps_pyiqas_filter() -> None:
    from pyiqa.matlab_utils import filter2, fspecial

    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 3, 40, 50, dtype=torch.float64, generator=generator) * 255
    quick = iqa_loading._Separable(filter2)
    gaussian = fspecial(11, 1.5, 3).double()
    assert iqa_loading._factors(gaussian) is not None
    assert torch.allclose(quick(pictures, gaussian, "valid"), filter2(pictures, gaussian, "valid"), atol=1e-5)
    ragged = torch.rand(3, 1, 5, 7, dtype=torch.float64, generator=generator)
    assert iqa_loading._factors(ragged) is None
    assert torch.equal(quick(pictures, ragged, "valid"), filter2(pictures, ragged, "valid"))
    oblong = torch.outer(torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 5, 2, 4])).double().repeat(3, 1, 1, 1)
    assert torch.allclose(quick(pictures, oblong, "valid"), filter2(pictures, oblong, "valid"), rtol=1e-12)


def test_sampled_frames_and_a_picture_as_the_reference(plain: dict[str, Any], tmp_path: Path) -> None:
    made = frames_of("rocket", 192, 184, 9)
    metric = Iqa(["psnr", "piqe"], frames=3)
    metric.load("cpu")
    (scores,) = metric.score([item(tmp_path / "x", made, made[2:3])])
    assert not isinstance(scores, Exception)
    for name, scored in scores.items():
        assert isinstance(scored, Measured) and scored.details["frames"] == [0, 4, 8]
        expected = [plain[name](*((f, made[2]) if name == "psnr" else (f,))) for f in made[[0, 4, 8]]]
        assert scored.value == pytest.approx(np.mean(expected), rel=1e-5)


def test_options_reach_pyiqas_class(plain: dict[str, Any], tmp_path: Path) -> None:
    clean = frames_of("coffee", 96, 64, 1)
    metric = Iqa(["psnr"], options={"psnr": {"test_y_channel": True}})
    metric.load("cpu")
    (scores,) = metric.score([item(tmp_path / "x", noisy(clean, 9), clean)])
    assert not isinstance(scores, Exception)
    assert value(scores["psnr"]) == pytest.approx(plain["psnry"](noisy(clean, 9)[0], clean[0]), rel=1e-6)
    assert value(scores["psnr"]) != pytest.approx(plain["psnr"](noisy(clean, 9)[0], clean[0]), rel=1e-3)


def test_a_reference_that_does_not_fit_fails_what_compares(tmp_path: Path) -> None:
    clean = frames_of("chelsea", 96, 80, 6)
    items = [
        item(tmp_path / "short", clean, clean[:4]),
        item(tmp_path / "small", clean, clean[:, :40, :48]),
        item(tmp_path / "none", clean),
        item(tmp_path / "good", clean, clean),
    ]
    metric = Iqa(["psnr", "piqe"], frames="all")
    metric.load("cpu")
    short, small, none, good = metric.score(items)
    for scores in (short, small, none, good):
        assert not isinstance(scores, Exception)
        assert value(scores["piqe"]) > 0
    assert "has 6 frames, its reference 4" in str(short["psnr"]) and "align=truncate" in str(short["psnr"])  # type: ignore[index]
    assert "is 96x80, its reference 48x40" in str(small["psnr"]) and "resize_reference" in str(small["psnr"])  # type: ignore[index]
    assert "no reference" in str(none["psnr"])  # type: ignore[index]
    assert value(good["psnr"]) == pytest.approx(80, abs=1e-3)  # type: ignore[index]
    lenient = Iqa(["psnr"], align="truncate", resize_reference=True)
    lenient.load("cpu")
    short, small, _, _ = lenient.score(items)
    assert short["psnr"].details["frames"] == [0, 1, 2, 3]  # type: ignore[index,union-attr]
    assert 5 < value(small["psnr"]) < 40  # type: ignore[index]


def test_one_clips_failure_is_not_anothers(tmp_path: Path) -> None:
    """MS-SSIM can't halve a small picture four times; a black frame has no PIQE; a clip that is gone can't be decoded."""
    large, small = frames_of("chelsea", 240, 184, 2), frames_of("chelsea", 64, 64, 2)
    black = large.copy()
    black[1] = 0
    items = [item(tmp_path / str(i), made, made) for i, made in enumerate((large, small, black, large))]
    (tmp_path / "3" / "frames" / "0.png").write_bytes(b"no picture")
    metric = Iqa(["ms_ssim", "piqe"], frame_batch=8)
    metric.load("cpu")
    good, tiny, dark, gone = metric.score(items)
    assert value(good["ms_ssim"]) == pytest.approx(1) and value(good["piqe"]) > 0  # type: ignore[index]
    assert "ms_ssim can't score a frame of 64x64" in str(tiny["ms_ssim"]) and value(tiny["piqe"]) > 0  # type: ignore[index]
    assert value(dark["ms_ssim"]) == pytest.approx(1)  # type: ignore[index]
    assert "piqe gave no finite number for 1 of 2 frames: 1" in str(dark["piqe"])  # type: ignore[index]
    assert isinstance(gone, ValueError)


def test_a_network_that_takes_one_picture_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(iqa_scoring.ONE_BY_ONE, "entropy", "takes one")
    asked = []
    metric = Iqa(["entropy"], frame_batch=8)
    metric.load("cpu")
    network = metric._metrics["entropy"]
    metric._metrics["entropy"] = lambda pictures: asked.append(len(pictures)) or network(pictures)
    metric.score([item(tmp_path / "x", frames_of("coffee", 64, 48, 3))])
    assert asked == [1, 1, 1]


def test_memory_runs_out_in_a_batch_not_in_a_frame(tmp_path: Path) -> None:
    metric = Iqa(["entropy"], frame_batch=4)
    metric.load("cpu")
    network = metric._metrics["entropy"]

    def narrow(pictures: Any) -> Any:
        if len(pictures) > 1:
            raise torch.OutOfMemoryError("no room for a batch")
        return network(pictures)

    metric._metrics["entropy"] = narrow
    (scores,) = metric.score([item(tmp_path / "x", frames_of("coffee", 64, 48, 5))])
    assert not isinstance(scores, Exception) and 0 < value(scores["entropy"]) <= 8


@pytest.mark.parametrize("frames", ["all", 5, "every_7", "first"])
def test_a_long_clip_is_streamed(frames: str | int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers, and never more frames held than a block of the stream and a batch."""
    clean = np.concatenate([frames_of("rocket", 64, 48, 25)] * 4)
    metric = Iqa(["psnr", "entropy"], frames=frames)
    metric.load("cpu")
    (whole,) = metric.score([item(tmp_path / "a", noisy(clean, 9), clean)])
    monkeypatch.setattr(clips, "WHOLE_MB", 0.1)
    long = item(tmp_path / "b", noisy(clean, 9), clean)
    assert not long.clip.fits
    (streamed,) = metric.score([long])
    assert streamed == whole
    assert long.clip._frames is None


def test_what_pyiqa_says_of_its_metrics_is_read_without_it() -> None:
    """Against pyiqa's own objects, made in this process."""
    import pyiqa

    known = iqa_catalogue.catalogue()
    listed = set(pyiqa.list_models()) - set(iqa_catalogue.OF_SETS) - set(iqa_catalogue.REFUSED)
    assert set(known) == listed and len(known) > 80
    full = set(pyiqa.list_models("FR"))
    for name, entry in known.items():
        assert ("reference" in entry.measure.needs) == (name in full), name
    for name in QUICK:
        made = pyiqa.create_metric(name, device=torch.device("cpu"))
        assert known[name].measure.direction == ("lower" if made.lower_better else "higher")
    ssim, piqe, psnr = (known[name].measure for name in ("ssim", "piqe", "psnr"))
    assert (ssim.low, ssim.high, piqe.low, piqe.high, piqe.direction) == (0, 1, 0, 100, "lower")
    assert (psnr.low, psnr.high, psnr.unit) == (None, None, "dB")
    assert known["clipscore"].measure.needs == ("prompt",)


def test_every_metric_has_its_files_in_the_table_and_pyiqa_knows_them() -> None:
    assert set(iqa_weights.LOADED) >= set(iqa_catalogue.catalogue())
    folder = Path((find_spec("pyiqa") or pytest.fail("no pyiqa")).submodule_search_locations[0])  # type: ignore[index,union-attr]
    sources = "".join(path.read_text() for path in (folder / "archs").rglob("*.py"))
    named = set(re.findall(r"get_url_from_name\(\s*(?:name=)?'([^']+)'", sources))
    ours = {loaded.split(":")[1] for files in iqa_weights.LOADED.values() for loaded in files if "iqa:" in loaded[:4]}
    assert ours - set(iqa_weights.RELEASES) <= named
    spare = {name for name in named - ours if not re.match(r"LPIPS|DBCNN|pt_inception|musiq_imagenet|ARNIQA", name)}
    assert len(spare) < 25, spare
    for name, digest in iqa_weights.CLIP_SHA256.items():
        assert f"{digest}/{name}" in sources


class Asked(OSError):
    """Raised in the place of a download."""


@pytest.mark.parametrize("name", ["musiq", "niqe", "brisque", "lpips", "clipiqa+", "arniqa", "cnniqa", "laion_aes"])
def test_pyiqa_looks_where_the_table_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With empty caches the first file that pyiqa wants to download is one of ours, from our URL to our path."""
    import pyiqa.utils.download_util as download

    asked: list[tuple[str, Path]] = []

    def fetch(url: str, target: str, *_: Any, **__: Any) -> None:
        asked.append((url, Path(target)))
        raise Asked(url)

    def opened(url: Any, *_: Any, **__: Any) -> None:
        asked.append((getattr(url, "full_url", url), tmp_path / "clip" / Path(getattr(url, "full_url", url)).name))
        raise Asked(url)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("GENBENCH_CLIP_CACHE", str(tmp_path / "clip"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(download, "DEFAULT_CACHE_DIR", str(tmp_path / "hub" / "pyiqa"))
    monkeypatch.setattr(download, "download_url_to_file", fetch)
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr("urllib.request.urlopen", opened)
    metric = Iqa([name])
    with pytest.raises(Asked):
        metric.load("cpu")
    known = {weights.url: weights.path for weights in metric.weights()}
    ((url, path),) = asked
    assert url in known
    assert known[url] == path or known[url].name == path.name == Path(url).name


def test_an_offline_run_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyiqa.utils.download_util as download

    monkeypatch.setattr(download, "DEFAULT_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match=r"cnniqa|CNNIQA.*offline=false") as caught:
        Iqa(["cnniqa"]).load("cpu")
    assert not isinstance(caught.value, urllib.error.URLError)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_checkpoint_of_the_users_own(tmp_path: Path) -> None:
    """Random weights of CNNIQA, saved by us: named at plan time, loaded, told apart by their digest."""
    from pyiqa.archs.cnniqa_arch import CNNIQA

    path = tmp_path / "own.pth"
    metric = Iqa(["cnniqa"], options={"cnniqa": {"pretrained_model_path": str(path)}})
    (weights,) = metric.weights()
    assert weights.path == path and weights.wrong() == "is missing" and not weights.fetchable
    assert "cnniqa checkpoint" not in metric.identity()
    torch.manual_seed(0)
    torch.save({"params": CNNIQA(pretrained=None).state_dict()}, path)
    assert weights.wrong() == "" and len(metric.identity()["cnniqa checkpoint"]) == 64
    metric.load("cpu")
    (scores,) = metric.score([item(tmp_path / "x", frames_of("coffee", 64, 48, 2))])
    assert not isinstance(scores, Exception) and np.isfinite(value(scores["cnniqa"]))


def test_files_that_metrics_share_are_named_once() -> None:
    paths = [weights.path for weights in Iqa(["musiq", "lpips", "lpips+", "dists", "dbcnn"]).weights()]
    assert len(paths) == len(set(paths)) == 7
    assert not list(Iqa(list(iqa_weights.FREE)).weights())
    assert all(weights.size_mb for weights in Iqa(["musiq", "lpips", "dists"]).weights())


@pytest.mark.parametrize(
    "arguments, where, said",
    [
        ({"names": ["musik"]}, "metrics.iqa.names", "did you mean `musiq`"),
        ({"names": ["fid"]}, "metrics.iqa.names", "metrics=[fid]"),
        ({"names": ["fgresq_pair"]}, "metrics.iqa.names", "use fgresq"),
        ({"names": ["psnr", "psnr"]}, "metrics.iqa.names", "named twice"),
        ({"names": []}, "metrics.iqa.names", "is empty"),
        ({"names": ["psnr"], "frames": "some"}, "metrics.iqa.frames", "every_2"),
        ({"options": {"psrn": {}}}, "metrics.iqa.options", "did you mean `psnr`"),
        ({"options": {"ssim": {"downsampel": True}}}, "metrics.iqa.options.ssim", "did you mean `downsample`"),
        ({"options": {"piqe": {"block": 8}}}, "metrics.iqa.options.piqe", "no such option"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], where: str, said: str) -> None:
    (problem,) = Iqa(**arguments).problems()
    assert problem.where == where and said in str(problem)


def test_no_mistakes_no_problems() -> None:
    for metric in (Iqa(), Iqa(["psnr", "musiq"], 8, options={"ssim": {"downsample": True}, "psnr": {"eps": 1e-9}})):
        assert not list(metric.problems())
    assert [measure.name for measure in Iqa().measures] == ["piqe", "psnr", "ssim", "ms_ssim"]


def test_without_pyiqa_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    iqa_catalogue.catalogue.cache_clear()
    monkeypatch.setattr(iqa_catalogue, "find_spec", lambda _: None)
    try:
        (problem,) = Iqa(["psnr"]).problems()
        assert "pyiqa" in str(problem) and "pip install" in problem.fix
        assert Iqa(["psnr"]).measures == ()
    finally:
        iqa_catalogue.catalogue.cache_clear()


def test_a_command_scores_pictures_and_refuses_what_is_missing(lab: Any, tmp_path: Path) -> None:
    common = ("model=ken_burns", "dataset=pictures", "limit=2", "model.frames=3", "metrics=[iqa]", "debug=true")
    said = lab.bare(*common, "metrics.iqa.names=[piqe,entropy]", "metrics.iqa.frames=2")
    assert said.code == 0, said.err
    assert "iqa/piqe ↓" in said.out and "iqa/entropy ↑" in said.out
    said = lab.bare(*common, "metrics.iqa.names=[piqe,musiq]", f"cache_dir={tmp_path}/caches")
    assert said.code == 2 and said.problems() == 1
    assert "musiq_koniq_ckpt-e95806b9.pth" in said.err and "109 MB" in said.err
    assert str(tmp_path / "caches/torch/hub/pyiqa") in said.err and "benchmark fetch" in said.err
    said = lab.bare(*common, "metrics.iqa.names=[piqe,psnr]")
    assert said.code == 2 and "reference" in said.err
