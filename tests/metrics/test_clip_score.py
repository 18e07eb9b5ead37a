"""Cosines worked out by hand from tiny CLIPs, and what is said of checkpoints that won't do."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workshop import tiny_clip

from benchmark.clip import Clip
from benchmark.media import write_png
from benchmark.metrics import Item, Measured
from benchmark.metrics.clip.openai import RELEASES, RELEASES_URL, OpenAI
from benchmark.metrics.clip.similarity import NAMES, ClipSimilarity
from benchmark.metrics.clip.transformers import HUB_FILES, HUB_WEIGHTS, Transformers
from benchmark.records import Case, Prediction
from benchmark.weights import Weights

pytest.importorskip("clip")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
PROMPT, LONG = "a rocket on its launch pad", "a rocket and " * 40
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    tiny_clip.save_state_dict(folder / "tiny.pt")
    tiny_clip.save_archive(folder / "archive.pt")
    tiny_clip.save_folder(folder / "folder")
    return folder


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Return frames (T, 40, 56, 3) uint8 of coarse noise, each of another brightness."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (count, 5, 7, 3)) * np.linspace(0.3, 1, count)[:, None, None, None]
    return coarse.astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def item(folder: Path, frames: np.ndarray, prompt: str = PROMPT, name: str = "x") -> Item:
    (folder / name).mkdir()
    for index, frame in enumerate(frames):
        write_png(folder / name / f"{index}.png", frame)
    case = Case(id=name, prompt=prompt)
    made = Prediction(case_id=name, sample=0, status="ok", fingerprint="")
    return Item(case, made, Clip({"frames": folder / name}))


def scores(metric: ClipSimilarity, *items: Item) -> list[dict[str, Any]]:
    metric.load("cpu")
    return [dict(values) for values in metric.score(items)]


def value(found: Any) -> float:
    assert isinstance(found, Measured)
    return found.value


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def by_openai(archive: Path, frames: np.ndarray, prompt: str) -> tuple[np.ndarray, np.ndarray]:
    """Return features of frames (T, D) and of the prompt (D,), as the package's own functions give them."""
    import clip
    import torch
    from PIL import Image

    network, preprocess = clip.load(str(archive), device="cpu")
    with torch.no_grad():
        seen = [network.encode_image(preprocess(Image.fromarray(frame))[None])[0] for frame in frames]
        text = network.encode_text(clip.tokenize([prompt], truncate=True))[0]
    return torch.stack(seen).double().numpy(), text.double().numpy()


def by_transformers(folder: Path, frames: np.ndarray, prompt: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of transformers' network, its preprocessing and tokenizer done here by hand."""
    import torch
    from PIL import Image
    from transformers import CLIPModel

    def prepared(frame: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(frame).resize((round(32 * 56 / 40 - 0.5), 32), Image.Resampling.BICUBIC)
        left = (picture.width - 32) // 2
        pixels = np.asarray(picture)[:, left : left + 32] / 255
        return ((pixels - MEAN) / DEVIATION).transpose(2, 0, 1).astype(np.float32)

    words = json.loads((folder / "vocab.json").read_text())
    letters = [letter for word in prompt.split() for letter in (*word[:-1], f"{word[-1]}</w>")]
    tokens = [*[words["<|startoftext|>"], *(words[letter] for letter in letters)][:76], words["<|endoftext|>"]]
    network = CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        text = network.text_projection(network.text_model(torch.tensor([tokens])).pooler_output)[0]
        pixels = torch.tensor(np.stack([prepared(frame) for frame in frames]))
        seen = network.visual_projection(network.vision_model(pixels).pooler_output)
    return seen.double().numpy(), text.double().numpy()


BACKENDS = [("openai", "archive.pt", by_openai), ("transformers", "folder", by_transformers)]


@pytest.mark.parametrize("prompt", [PROMPT, LONG], ids=["short", "long"])
@pytest.mark.parametrize(("backend", "model", "by_hand"), BACKENDS, ids=["openai", "transformers"])
def test_scores_are_cosines_worked_out_by_hand(
    backend: Any, model: str, by_hand: Any, prompt: str, models: Path, tmp_path: Path
) -> None:
    frames = pictures(5)
    metric = ClipSimilarity(backend=backend, model=str(models / model), frames=3, frame_batch=2)
    (found,) = scores(metric, item(tmp_path, frames, prompt))
    seen, text = by_hand(models / model, frames[[0, 2, 4]], prompt)
    cosines = [cosine(picture, text) for picture in seen]
    assert len({round(value, 4) for value in cosines}) == 3  # the network tells them apart
    assert list(found) == list(NAMES)
    assert value(found["text_similarity"]) == pytest.approx(np.mean(cosines), abs=1e-5)
    assert value(found["clip_score"]) == pytest.approx(np.mean([2.5 * max(x, 0) for x in cosines]), abs=1e-5)
    pairs = [cosine(seen[0], seen[1]), cosine(seen[1], seen[2])]
    assert value(found["frame_consistency"]) == pytest.approx(np.mean(pairs), abs=1e-5)
    details = found["text_similarity"].details
    assert details["frames"] == [0, 2, 4] and details["per_frame"] == pytest.approx(cosines, abs=1e-5)
    assert details.get("prompt_truncated", False) == (prompt == LONG)
    assert found["frame_consistency"].details["per_pair"] == pytest.approx(pairs, abs=1e-5)


def test_an_archive_and_its_state_dict_are_one_model(models: Path, tmp_path: Path) -> None:
    one = item(tmp_path, pictures(3))
    (a,), (b,) = (scores(ClipSimilarity(model=str(models / name)), one) for name in ("archive.pt", "tiny.pt"))
    assert [value(x) for x in a.values()] == [value(x) for x in b.values()]


@pytest.mark.parametrize("frame_batch", [1, 4, 100])
def test_batches_do_not_change_scores(frame_batch: int, models: Path, tmp_path: Path) -> None:
    """Several items of several lengths at once are scored like each alone."""
    items = [item(tmp_path, pictures(n, n), f"{PROMPT} {n % 3}", f"x{n}") for n in (1, 6, 2, 3)]
    metric = ClipSimilarity(["text_similarity"], model=str(models / "tiny.pt"), frames="all", frame_batch=frame_batch)
    together = scores(metric, *items)
    for values, one in zip(together, items, strict=True):
        (alone,) = scores(metric, one)
        assert value(values["text_similarity"]) == pytest.approx(value(alone["text_similarity"]), abs=1e-6)
    assert len({round(value(x["text_similarity"]), 4) for x in together}) == 4


def test_a_clip_too_long_to_be_held_gives_the_same(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = item(tmp_path, pictures(70))
    metric = ClipSimilarity(model=str(models / "tiny.pt"), frames=5)
    (held,) = scores(metric, one)
    one.release()
    monkeypatch.setattr("benchmark.clip.WHOLE_MB", 0)
    (streamed,) = scores(metric, one)
    assert held == streamed and held["text_similarity"].details["frames"] == [0, 17, 35, 52, 69]


def test_a_prefix_goes_before_the_prompt(models: Path, tmp_path: Path) -> None:
    said, prefixed = item(tmp_path, pictures(2), f"A photo depicts {PROMPT}", "a"), item(tmp_path, pictures(2))
    (a,) = scores(ClipSimilarity(model=str(models / "tiny.pt")), said)
    (b,) = scores(ClipSimilarity(model=str(models / "tiny.pt"), prefix="A photo depicts "), prefixed)
    (c,) = scores(ClipSimilarity(model=str(models / "tiny.pt")), prefixed)
    assert value(a["text_similarity"]) == value(b["text_similarity"]) != value(c["text_similarity"])


def test_one_picture_has_no_consistency_but_the_rest(models: Path, tmp_path: Path) -> None:
    (found,) = scores(ClipSimilarity(model=str(models / "tiny.pt")), item(tmp_path, pictures(1)))
    assert isinstance(found["frame_consistency"], ValueError) and "at least 2 frames" in str(found["frame_consistency"])
    assert -1 <= value(found["text_similarity"]) <= 1


def test_a_still_is_wholly_consistent(models: Path, tmp_path: Path) -> None:
    still = item(tmp_path, pictures(1).repeat(4, axis=0), prompt="")
    (found,) = scores(ClipSimilarity(["frame_consistency"], model=str(models / "tiny.pt")), still)
    assert value(found["frame_consistency"]) == pytest.approx(1, abs=1e-6) and len(found) == 1


def test_half_precision_is_near(models: Path, tmp_path: Path) -> None:
    one = item(tmp_path, pictures(3))
    for backend, model in (("openai", "tiny.pt"), ("transformers", "folder")):
        full, half = (
            scores(ClipSimilarity(backend=backend, model=str(models / model), dtype=dtype), one)[0]
            for dtype in ("float32", "float16")
        )
        for name in NAMES:
            assert value(half[name]) == pytest.approx(value(full[name]), abs=5e-3)
        assert value(half["frame_consistency"]) != value(full["frame_consistency"])


def test_the_releases_are_those_of_the_package() -> None:
    import clip.clip

    ours = {name: f"{RELEASES_URL}/{release.sha256}/{release.file}" for name, release in RELEASES.items()}
    assert ours == clip.clip._MODELS


def test_weights_lie_where_they_belong(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENBENCH_CLIP_CACHE", str(tmp_path))
    (weights,) = ClipSimilarity().weights()
    assert weights.path == tmp_path / "ViT-B-32.pt" and weights.url.endswith("/ViT-B-32.pt")
    assert weights.sha256 in weights.url and weights.size_mb == 354 and weights.wrong() == "is missing"
    (own,) = ClipSimilarity(model=str(models / "tiny.pt")).weights()
    assert not own.fetchable and not own.wrong()
    (folder,) = ClipSimilarity(backend="transformers", model=str(models / "folder")).weights()
    assert not folder.fetchable and not folder.wrong()


def test_a_repository_is_read_from_the_cache(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    source = Transformers("someone/tiny-clip", "v1")
    assert source.weights() == Weights(
        "CLIP",
        tmp_path / "models--someone--tiny-clip",
        repository="someone/tiny-clip",
        revision="v1",
        files=HUB_FILES,
    )
    assert source.weights().wrong() == "is missing" and source.identity() == {}
    with pytest.raises(ValueError, match="someone/tiny-clip is missing; `python -m benchmark fetch`"):
        source.load("cpu", "float32")
    snapshot = tmp_path / "models--someone--tiny-clip" / "snapshots" / "c0ffee"
    shutil.copytree(models / "folder", snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "v1").write_text("c0ffee")
    assert source.weights().wrong() == "" and source.identity() == {"commit": "c0ffee"}
    assert source.load("cpu", "float32").pictures(list(pictures(2))).shape == (2, 512)
    (snapshot / "model.safetensors").unlink()
    assert HUB_WEIGHTS in source.weights().wrong()


@pytest.mark.parametrize("name", ["model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin"])
def test_weights_of_a_repository_are_recognised(name: str) -> None:
    from fnmatch import fnmatchcase

    def matches(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in HUB_WEIGHTS.split("|"))

    assert matches(name)
    assert not any(map(matches, ("flax_model.msgpack", "tf_model.h5", f"open_clip_{name}", "merges.txt")))


def test_identity_follows_the_content(models: Path, tmp_path: Path) -> None:
    a, b = OpenAI(str(models / "tiny.pt")), OpenAI(str(tiny_clip.save_state_dict(tmp_path / "tiny.pt", seed=1)))
    assert set(a.identity()) == {"sha256"} and a.identity() != b.identity()
    assert ClipSimilarity().identity() == {}  # the name says it
    shutil.copytree(models / "folder", tmp_path / "folder")
    before = Transformers(str(tmp_path / "folder")).identity()
    assert before == Transformers(str(models / "folder")).identity() and set(before) == {"digest"}
    config = tmp_path / "folder" / "config.json"
    config.write_text(config.read_text() + " ")
    assert before != Transformers(str(tmp_path / "folder")).identity()


def test_a_picture_is_not_asked_for_consistency() -> None:
    kinds = {measure.name: measure.kinds for measure in ClipSimilarity().measures}
    assert kinds == {"text_similarity": (), "clip_score": (), "frame_consistency": ("video",)}


def test_a_damaged_file_is_named_with_its_cure(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    whole = (models / "tiny.pt").read_bytes()
    (tmp_path / "short.pt").write_bytes(whole[:50_000])
    (tmp_path / "words.pt").write_text("this is no checkpoint")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("short.pt", "words.pt", "other.pt", "list.pt"):
        with pytest.raises(ValueError, match=rf"{name} is damaged or no CLIP checkpoint \(.*put a whole one there"):
            ClipSimilarity(model=str(tmp_path / name)).load("cpu")
    for name in ("short.pt", "words.pt"):
        (problem,) = ClipSimilarity(model=str(tmp_path / name)).problems()
        assert "is damaged, or no checkpoint of PyTorch" in str(problem)
    with pytest.raises(ValueError, match=r"gone.pt is missing; put a whole one there, or name another"):
        ClipSimilarity(model=str(tmp_path / "gone.pt")).load("cpu")
    monkeypatch.setenv("GENBENCH_CLIP_CACHE", str(tmp_path))
    (tmp_path / "ViT-B-32.pt").write_bytes(whole)
    with pytest.raises(ValueError, match=r"ViT-B-32.pt is damaged \(its SHA256 .*`python -m benchmark fetch`"):
        ClipSimilarity().load("cpu")
    assert (tmp_path / "ViT-B-32.pt").read_bytes() == whole  # nothing was downloaded over it


def test_a_damaged_folder_is_named_with_its_cure(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "folder", tmp_path / "folder")
    weights = tmp_path / "folder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    metric = ClipSimilarity(backend="transformers", model=str(tmp_path / "folder"))
    with pytest.raises(ValueError, match=r"folder is damaged or no CLIP model \(.*put a whole one there"):
        metric.load("cpu")


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        ({"names": ["text_similarty"]}, "names", "did you mean `text_similarity`?"),
        ({"names": []}, "names", "name some, or null for all"),
        ({"frames": "some"}, "frames", "every_2"),
        ({"model": "ViT-B32"}, "model", "did you mean `ViT-B/32`"),
        ({"model": "."}, "model", "metrics.clip.backend=transformers"),
        ({"backend": "transformers"}, "model", "metrics.clip.backend=openai"),
        ({"backend": "transformers", "model": "no folder"}, "model", "openai/clip-vit-base-patch32"),
        ({"backend": "transformers", "model": "."}, "model", "holds no config.json"),
    ],
)
def test_mistakes_are_told_with_a_way_out(
    arguments: dict[str, Any], key: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (problem,) = ClipSimilarity(**arguments).problems()
    assert problem.where == f"metrics.clip.{key}" and words in str(problem)


def test_another_package_of_the_same_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "__init__.py").write_text("# a clipboard manager")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "clip", raising=False)
    (problem,) = ClipSimilarity().problems()
    assert "is not OpenAI's" in problem.wrong and problem.fix == "pip install openai-clip"
    assert ClipSimilarity().requires == ("torch", "clip")
    assert ClipSimilarity(backend="transformers").requires == ("torch", "transformers")


def test_a_whole_run(lab: Any, models: Path) -> None:
    shutil.copy(models / "tiny.pt", lab.folder)
    words = ["model=ken_burns", "model.frames=4", "dataset=pictures", "metrics=[clip]", "limit=2"]
    said = lab.bare(*words, "metrics.clip.model=tiny.pt", "metrics.clip.frames=3", "debug=true")
    assert said.code == 0, said
    (file,) = lab.folder.glob("outputs/*/latest/results/*/scores.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {record["metric"] for record in records} == {f"clip/{name}" for name in NAMES}
    assert len(records) == 6 and all(record["status"] == "ok" for record in records)
    by_name = {record["metric"]: record for record in records}
    assert by_name["clip/text_similarity"]["details"]["frames"] == [0, 2, 3]
    assert 0.9 < by_name["clip/frame_consistency"]["value"] <= 1


def test_a_missing_checkpoint_is_refused_before_anything_starts(lab: Any) -> None:
    said = lab.bare("model=ken_burns", "metrics=[clip]", "limit=2", "cache_dir=caches")
    assert said.code == 2, said
    for words in ("ViT-B-32.pt is missing", "354 MB", str(lab.folder / "caches" / "clip"), "benchmark fetch"):
        assert words in said.err
    assert not (lab.folder / "outputs").exists() and not (lab.folder / "caches").exists()
    (lab.folder / "caches" / "clip").mkdir(parents=True)
    (lab.folder / "caches" / "clip" / "ViT-B-32.pt").write_bytes(b"the first half")
    said = lab.bare("model=ken_burns", "metrics=[clip]", "limit=2", "cache_dir=caches")
    assert said.code == 2 and "ViT-B-32.pt is damaged" in said.err and "benchmark fetch" in said.err
