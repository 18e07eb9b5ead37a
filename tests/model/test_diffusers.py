"""Tiny pipelines with random weights, run for real: what comes out, and that every setting has its effect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workshop import tiny_pipelines

from benchmark.errors import UserError
from benchmark.media import Image, Video, read_image, read_video, write_video
from benchmark.model import Request
from benchmark.model.pipelines.diffusers import Pipeline, to_pixels
from benchmark.records import Case

PICTURE = {"num_inference_steps": 2, "width": 32, "height": 32}
CLIP = {"num_inference_steps": 2, "width": 16, "height": 16, "max_sequence_length": 16}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints `sd` (its denoiser in shards), `cogvideox`, `cogvideox_i2v` and `ddpm`."""
    import torch

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("tiny")
    tiny_pipelines.save(tiny_pipelines.stable_diffusion(), root / "sd", shards=["unet"])
    tiny_pipelines.save(tiny_pipelines.cogvideox(), root / "cogvideox")
    tiny_pipelines.save(tiny_pipelines.cogvideox(image_to_video=True), root / "cogvideox_i2v")
    tiny_pipelines.save(tiny_pipelines.ddpm(), root / "ddpm")
    return root


def gradient(width: int = 40, height: int = 32, shade: int = 0) -> np.ndarray:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([across, down, np.full_like(across, shade)], axis=-1).astype(np.uint8)


def request(
    seed: int = 1, prompt: str = "a red cup", negative: str = "", picture: np.ndarray | None = None, **inputs: str
) -> Request:
    images = {} if picture is None else {"image": picture}
    return Request(Case(id=f"c{seed}", inputs=inputs), 0, prompt, negative, seed, images)


def loaded(folder: Path, **arguments: Any) -> Pipeline:
    model = Pipeline(path=str(folder), **{"call": PICTURE, **arguments})
    assert not list(model.problems()), list(model.problems())
    model.load("cpu")
    return model


def pixels(model: Pipeline, *requests: Request) -> list[np.ndarray]:
    outputs = model.generate(list(requests) or [request()])
    for output in outputs:
        assert isinstance(output, (Image, Video)), output
    return [output.pixels if isinstance(output, Image) else output.frames for output in outputs]  # type: ignore[union-attr]


def test_a_picture_is_the_one_that_the_pipeline_itself_makes(tiny: Path) -> None:
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(tiny / "sd", local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(7)
    expected = pipe("a red cup", negative_prompt="a dog", generator=generator, guidance_scale=4.0, **PICTURE).images[0]
    (made,) = pixels(loaded(tiny / "sd", call={**PICTURE, "guidance_scale": 4.0}), request(7, negative="a dog"))
    assert made.shape == (32, 32, 3) and np.array_equal(made, np.asarray(expected))


@pytest.mark.parametrize(
    "changed",
    [
        {"call": {**PICTURE, "num_inference_steps": 3}},
        {"call": {**PICTURE, "guidance_scale": 1.5}},
        {"scheduler": "DDPMScheduler"},
        {"scheduler_kwargs": {"timestep_spacing": "trailing"}},
        {"dtype": "bfloat16"},
        {"dtype": {"default": "float32", "unet": "bfloat16"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_setting_has_its_effect(tiny: Path, changed: dict[str, Any]) -> None:
    if isinstance(changed.get("dtype"), dict):  # mixed precision is the pipeline's to allow: here only that it arrives
        model = loaded(tiny / "sd", **changed)
        assert str(model._pipe.unet.dtype) == "torch.bfloat16" and str(model._pipe.vae.dtype) == "torch.float32"
        return
    (plain,), (other,) = pixels(loaded(tiny / "sd")), pixels(loaded(tiny / "sd", **changed))
    assert plain.shape == other.shape and not np.array_equal(plain, other)


def test_requests_have_their_effect_and_seeds_repeat(tiny: Path) -> None:
    model = loaded(tiny / "sd")
    (plain,), (again,) = pixels(model, request(1)), pixels(model, request(1))
    assert np.array_equal(plain, again)
    for other in (request(2), request(1, prompt="the rocket"), request(1, negative="a dog on a cup")):
        assert not np.array_equal(plain, pixels(model, other)[0])
    wide = loaded(tiny / "sd", call={**PICTURE, "width": 48})
    assert pixels(wide)[0].shape == (32, 48, 3)


def test_a_batch_gives_each_request_its_own(tiny: Path) -> None:
    model = loaded(tiny / "sd", batch_size=3)
    asked = [request(1), request(2, prompt="the rocket", negative="a dog"), request(3, prompt="a cat")]
    together, alone = pixels(model, *asked), [pixels(model, one)[0] for one in asked]
    for a, b in zip(together, alone, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1
    assert all(np.array_equal(a, b) for a, b in zip(together, pixels(model, *asked), strict=True))
    assert np.abs(together[0].astype(int) - together[2]).max() > 5


def test_image_to_image_takes_pictures_of_any_size(tiny: Path) -> None:
    call = {"num_inference_steps": 4, "strength": 0.5}
    model = loaded(tiny / "sd", task="i2i", pipeline="StableDiffusionImg2ImgPipeline", call=call, batch_size=2)
    asked = [
        request(1, picture=gradient(40, 32)),
        request(2, picture=gradient(32, 48)),
        request(3, picture=gradient(40, 32, 99)),
    ]
    made = pixels(model, *asked)
    assert [one.shape for one in made] == [(32, 40, 3), (48, 32, 3), (32, 40, 3)]
    assert not np.array_equal(made[0], pixels(model, request(1, picture=gradient(40, 32, 200)))[0])
    sized = loaded(tiny / "sd", task="i2i", pipeline="StableDiffusionImg2ImgPipeline", call=call, input_size=(48, 16))
    assert pixels(sized, asked[0])[0].shape == (16, 48, 3)


def test_text_to_video(tiny: Path) -> None:
    model = loaded(tiny / "cogvideox", task="t2v", call={**CLIP, "num_frames": 8}, fps=12.0)
    (video,) = model.generate([request(5)])
    assert isinstance(video, Video) and video.frames.shape == (8, 16, 16, 3) and video.fps == 12.0
    tiled = loaded(tiny / "cogvideox", task="t2v", call={**CLIP, "num_frames": 8}, vae_tiling=True, vae_slicing=True)
    assert tiled._pipe.vae.use_tiling and tiled._pipe.vae.use_slicing and not model._pipe.vae.use_tiling


def test_image_to_video_begins_with_the_picture_given(tiny: Path) -> None:
    model = loaded(tiny / "cogvideox_i2v", task="image-to-video", call={**CLIP, "num_frames": 9}, batch_size=2)
    asked = [request(1, picture=gradient()), request(2, picture=gradient(64, 20, 200))]
    together = pixels(model, *asked)
    assert [clip.shape for clip in together] == [(9, 16, 16, 3)] * 2
    assert np.abs(together[1].astype(int) - pixels(model, asked[1])[0]).max() <= 1
    assert not np.array_equal(together[0], pixels(model, request(1, picture=gradient(40, 32, 255)))[0])


def test_video_to_video_takes_as_many_frames_as_are_asked_for(tiny: Path, tmp_path: Path) -> None:
    clip = np.stack([gradient(32, 32, 10 * i) for i in range(16)])
    write_video(tmp_path / "clip.mp4", Video(clip, 8.0))
    call = {**CLIP, "num_inference_steps": 4, "strength": 0.5}
    settings: dict[str, Any] = {"task": "v2v", "pipeline": "CogVideoXVideoToVideoPipeline", "call": call}
    model = loaded(tiny / "cogvideox", **settings, input_frames=8)
    assert pixels(model, request(1, video=str(tmp_path / "clip.mp4")))[0].shape == (8, 16, 16, 3)
    whole = loaded(tiny / "cogvideox", **settings)
    assert len(pixels(whole, request(1, video=str(tmp_path / "clip.mp4")))[0]) == 16


def test_pictures_of_nothing_but_noise(tiny: Path) -> None:
    model = loaded(tiny / "ddpm", task="unconditional-image-generation", call={"num_inference_steps": 2}, batch_size=2)
    a, b = pixels(model, request(1, prompt=""), request(2, prompt=""))
    assert a.shape == (8, 8, 3) and not np.array_equal(a, b)
    assert np.abs(b.astype(int) - pixels(model, request(2, prompt=""))[0]).max() <= 1
    with pytest.raises(ValueError, match="takes no negative prompt"):
        model.generate([request(1, negative="a dog")])


def test_nan_fails_its_own_request_and_says_how_much(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(tiny / "sd", batch_size=2)
    decode = model._pipe.vae.decode

    def broken(*arguments: Any, **options: Any) -> Any:
        (picture, *rest) = decode(*arguments, **options)
        picture[1, :, :16] = float("nan")
        return (picture, *rest)

    monkeypatch.setattr(model._pipe.vae, "decode", broken)
    good, bad = model.generate([request(1), request(2)])
    assert isinstance(good, Image) and isinstance(bad, ValueError)
    assert "NaN or infinite (50.0% of them) (dtype float32)" in str(bad)


def test_loading_tells_what_could_not_be_told_before(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.model.pipelines import signatures

    with pytest.raises(FileNotFoundError, match="org/missing"):
        Pipeline(path="org/missing").load("cpu")
    with pytest.raises(ValueError, match="seed_device=cpu"):
        Pipeline(path=str(tiny / "sd"), seed_device="cuda").load("cpu")
    with pytest.raises(ValueError, match="has no pipeline Nonsense"):
        Pipeline(path=str(tiny / "sd"), pipeline="Nonsense").load("cpu")
    monkeypatch.setattr(signatures, "signature", lambda *arguments: None)  # a library with another layout
    with pytest.raises(UserError, match=r"did you mean `model\.call\.guidance_scale`"):
        Pipeline(path=str(tiny / "sd"), call={"guidance_scal": 3}).load("cpu")


def test_pixels_come_from_any_form_of_output() -> None:
    from PIL import Image as Pillow

    floats = np.array([[[0.0, 0.5, 1.0]]])
    assert to_pixels(floats).tolist() == [[[0, 128, 255]]]
    assert to_pixels(np.full((2, 2, 1), 0.2)).tolist() == [[[51] * 3] * 2] * 2
    assert to_pixels(Pillow.new("L", (3, 2), 9)).tolist() == [[[9] * 3] * 3] * 2
    assert to_pixels([Pillow.new("RGB", (3, 2))] * 4).shape == (4, 2, 3, 3)
    with pytest.raises(ValueError, match="NaN"):
        to_pixels(np.array([[[np.nan, 0, 0]]]))


def command(folder: Path, *words: str, task: str = "t2i", call: dict[str, Any] = PICTURE) -> list[str]:
    named = [f"model.call.{name}={value}" for name, value in call.items()]
    return [
        "model=diffusers",
        f"model.path={folder}",
        f"model.task={task}",
        "dataset=pictures",
        "metrics=[]",
        "mode=infer",
        *named,
        *words,
    ]


def records(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("outputs/*/latest/predictions/*/predictions.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pictures_from_the_command_line(lab: Any, tiny: Path) -> None:
    said = lab.bare("debug=true", "limit=2", *command(tiny / "sd"))
    assert said.code == 0, said
    made = records(lab.folder)
    assert [(one["status"], one["width"], one["height"]) for one in made] == [("ok", 32, 32)] * 2
    first = lab.folder / "outputs/diffusers-pictures/latest" / made[0]["files"]["image"]
    model = loaded(tiny / "sd")
    case = made[0]["case_id"].split("-")[1]
    prompt = next(
        json.loads(line)["prompt"]
        for line in (lab.folder / "outputs/diffusers-pictures/latest/cases.jsonl").open()
        if case in line
    )
    assert np.array_equal(read_image(first), pixels(model, request(made[0]["seed"], prompt))[0])


def test_clips_from_the_command_line(lab: Any, tiny: Path) -> None:
    call = {**CLIP, "num_frames": 9}
    said = lab.bare(
        "debug=true",
        "limit=2",
        "model.batch_size=2",
        "model.fps=6",
        *command(tiny / "cogvideox_i2v", task="i2v", call=call),
    )
    assert said.code == 0, said
    for one in records(lab.folder):
        frames, fps = read_video(lab.folder / "outputs/diffusers-pictures/latest" / one["files"]["video"])
        assert frames.shape == (9, 16, 16, 3) and fps == 6 and one["batch_size"] == 2


def test_mistakes_are_told_together_before_anything_starts(
    lab: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny / "sd", broken)
    next((broken / "unet").glob("*-00002-of-*.safetensors")).unlink()
    said = lab.bare(*command(broken, "model.call.guidanc_scale=3", "model.dtype=half", "limit=2"))
    assert said.code == 2 and "float16" in said.err
    said = lab.bare(*command(broken, "model.call.guidanc_scale=3", "limit=2"))
    assert said.code == 2 and said.problems() == 2
    assert "-00002-of-" in said.err and "did you mean `model.call.guidance_scale`" in said.err
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    said = lab.bare(*command(Path("org/name"), "limit=2"))
    assert said.code == 2 and "org/name is missing" in said.err and str(tmp_path / "hub") in said.err
    assert "python -m benchmark fetch" in said.err and not (lab.folder / "outputs").exists()


@pytest.mark.slow
def test_a_moved_checkpoint_goes_on_with_worker_processes(tmp_path: Path, tiny: Path) -> None:
    from e2e.conftest import Bench

    bench = Bench(tmp_path)
    code, out = bench.run(
        *command(tiny / "sd", "limit=2", "model.batch_size=2", "compute.workers=1"), studio=False, timeout_s=140
    )
    assert code == 0, out
    before = {one["case_id"]: one["sha256"] for one in records(tmp_path)}
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny / "sd", moved)
    words = command(moved, "limit=2", "model.batch_size=2", "reuse=latest", "redo=[infer]")
    code, out = bench.run(*words, studio=False, timeout_s=140)
    assert code == 0, out
    assert {one["case_id"]: one["sha256"] for one in records(tmp_path)} == before
    assert len(list(tmp_path.glob("outputs/*/2*"))) == 1, "the same run, since the content is the same"
    bench.close()
