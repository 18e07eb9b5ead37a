"""What is told of a checkpoint before anything of diffusers is imported: files by hand, with the names that it gives them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.model import Checked, Identified, Model, Sized, Weighted, checkpoints
from benchmark.model.pipelines import signatures
from benchmark.model.pipelines.diffusers import Pipeline

COMPONENTS = {
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}


def weights(path: Path, kind: str = "F32", value: int = 0, tensors: int = 2, values: int = 64) -> None:
    """Write a .safetensors file: 8 bytes with the length of the header, the header, the tensors."""
    size = {"F32": 4, "F16": 2, "BF16": 2}[kind] * values
    places = {
        f"t{i}": {"dtype": kind, "shape": [values], "data_offsets": [i * size, i * size + size]} for i in range(tensors)
    }
    header = json.dumps(places).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes([value]) * size * tensors)


def shards(
    folder: Path, n: int = 3, infix: str = "", index: str = "diffusion_pytorch_model.safetensors.index.json"
) -> None:
    names = [f"diffusion_pytorch_model{infix}-{i:05d}-of-{n:05d}.safetensors" for i in range(1, n + 1)]
    for name in names:
        weights(folder / name, values=250_000)
    total = sum((folder / name).stat().st_size for name in names)
    weight_map = {f"t{i}": name for i, name in enumerate(names)}
    (folder / index).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A StableDiffusionPipeline as save_pretrained lays it out, the denoiser in float16 and in three shards."""
    root = tmp_path / "sd"
    for name, kind in COMPONENTS.items():
        if isinstance(kind, list) and kind[1]:
            (root / name).mkdir(parents=True)
    (root / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **COMPONENTS}))
    (root / "scheduler" / "scheduler_config.json").write_text("{}")
    (root / "tokenizer" / "vocab.json").write_text("{}")
    for name in ("text_encoder", "unet", "vae"):
        (root / name / "config.json").write_text("{}")
    weights(root / "text_encoder" / "model.safetensors")
    weights(root / "vae" / "diffusion_pytorch_model.safetensors")
    shards(root / "unet")
    return root


def told(folder: Path | str, **arguments: Any) -> list[str]:
    return [str(problem) for problem in Pipeline(path=str(folder), **arguments).problems()]


def one(folder: Path | str, **arguments: Any) -> str:
    (problem,) = told(folder, **arguments)
    return problem


def identity(folder: Path, **arguments: Any) -> dict[str, Any]:
    return Pipeline(path=str(folder), **arguments).identity()


def test_it_satisfies_the_protocols(folder: Path) -> None:
    model = Pipeline(path=str(folder))
    assert all(isinstance(model, protocol) for protocol in (Model, Checked, Identified, Weighted, Sized))


def test_a_whole_checkpoint_has_no_problems(folder: Path) -> None:
    call = {"num_inference_steps": 2, "guidance_scale": 3.0, "width": 32}
    assert told(folder, call=call, scheduler="DPMSolverMultistepScheduler") == []
    assert not list(Pipeline(path=str(folder)).weights()), "a folder of the user's own is not fetched"


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (
            "unet/diffusion_pytorch_model-00002-of-00003.safetensors",
            "lacks unet/diffusion_pytorch_model-00002-of-00003.s",
        ),
        ("unet/diffusion_pytorch_model.safetensors.index.json", "unet/diffusion_pytorch_model.safetensors.index.json"),
        ("unet/config.json", "lacks unet/config.json"),
        ("vae/diffusion_pytorch_model.safetensors", "lacks vae/*.safetensors"),
        ("scheduler/scheduler_config.json", "lacks scheduler/scheduler_config.json"),
        ("tokenizer/vocab.json", "lacks tokenizer/*"),
    ],
)
def test_a_file_that_is_missing_is_named_with_its_place(folder: Path, gone: str, said: str) -> None:
    (folder / gone).unlink()
    problem = one(folder)
    assert said in problem and f"fix: put it into {folder / gone.split('/')[0]}" in problem


def test_a_missing_component_and_the_size_of_a_missing_shard(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    (folder / "unet" / "diffusion_pytorch_model-00001-of-00003.safetensors").unlink()
    problems = "\n".join(told(folder))
    assert "vae/config.json" in problems and "vae/*.safetensors" in problems
    assert "about 2.0 MB" in problems  # two tensors of 250,000 four-byte values


def test_a_broken_download_is_found_by_its_size(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert f"has {len(whole) - 7:,} of {len(whole):,} bytes" in one(folder)
    path.write_bytes(b"<html>not found</html>")
    assert "cut short or no safetensors file" in one(folder)


def test_variants_are_told_apart(folder: Path) -> None:
    assert "has no variants" in one(folder, variant="fp16")
    weights(folder / "vae" / "diffusion_pytorch_model.fp16.safetensors", "F16")
    shards(folder / "unet", 2, ".fp16", "diffusion_pytorch_model.safetensors.index.fp16.json")
    assert told(folder, variant="fp16") == []
    read = checkpoints.read(folder, "fp16")
    assert "vae/diffusion_pytorch_model.fp16.safetensors" in read.files
    assert "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors" in read.files
    assert "text_encoder/model.safetensors" in read.files  # has no variant, so it stands in
    assert not any("fp16" in name for name in checkpoints.read(folder).weights())
    assert "given: bf16\n     allowed: fp16" in one(folder, variant="bf16")
    (folder / "unet" / "diffusion_pytorch_model.fp16-00002-of-00002.safetensors").unlink()
    assert "fp16-00002-of-00002" in one(folder, variant="fp16") and told(folder) == []


def test_what_is_no_pipeline_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "names no checkpoint" in one("")
    assert "model_index.json does not exist" in one(folder / "unet")
    assert "is a file" in one(folder / "model_index.json")
    assert "there is no such folder" in one(tmp_path / "sdx") and "did you mean `sd`?" in one(tmp_path / "sdx")
    monkeypatch.chdir(tmp_path.parent)
    assert "there is no such folder" in one(f"{tmp_path.name}/sx"), "beside a folder, not a repository"
    (folder / "model_index.json").write_text("{")
    assert "can't be read" in one(folder)


def test_the_class_is_known_before_it_is_loaded(folder: Path) -> None:
    assert "did you mean `StableDiffusionImg2ImgPipeline`" in one(folder, pipeline="StableDiffusionImg2Img")
    for own, said in (("StableDifusionPipeline", "not in this diffusers"), (["pipeline", "Mine"], "code of its own")):
        (folder / "model_index.json").write_text(json.dumps({"_class_name": own, **COMPONENTS}))
        assert said in one(folder)
    assert told(folder, load_kwargs={"trust_remote_code": True}) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"call": {"num_inference_step": 2}}, "did you mean `model.call.num_inference_steps`?"),
        ({"call": {"generator": 1}}, "fix: use seed"),
        ({"call": {"num_images_per_prompt": 2}}, "fix: use samples"),
        ({"load_kwargs": {"torch_dtype": "float16"}}, "fix: use model.dtype"),
        ({"load_kwargs": {"safety_cheker": None}}, "did you mean `model.load_kwargs.safety_checker`"),
        ({"scheduler": "DDIMSchedule"}, "did you mean `DDIMScheduler`"),
        ({"scheduler_kwargs": {"timestep_spacin": 1}}, "did you mean `model.scheduler_kwargs.timestep_spacing`"),
        ({"dtype": {"transformer": "float16"}}, "allowed: scheduler, text_encoder, tokenizer, unet, vae, default"),
        ({"task": "i2i"}, "fix: model.pipeline=StableDiffusionImg2ImgPipeline"),
        ({"task": "text-to-video"}, "allowed: text-to-image"),
        ({"pipeline": "StableDiffusionInpaintPipeline", "task": "i2i"}, ""),
        ({"pipeline": "CogVideoXImageToVideoPipeline", "task": "t2v"}, "fix: model.task=image-to-video"),
        ({"pipeline": "DDPMPipeline"}, "allowed: unconditional-image-generation"),
    ],
)
def test_arguments_are_checked_by_the_signature(folder: Path, arguments: dict[str, Any], said: str) -> None:
    problems = told(folder, **arguments)
    assert (any(said in problem for problem in problems)) if said else not problems


def test_the_task_says_what_cases_must_have(folder: Path) -> None:
    for short, whole in (("t2i", "text-to-image"), ("i2i", "image-to-image"), ("t2v", "text-to-video")):
        a, b = Pipeline(task=short), Pipeline(task=whole)  # type: ignore[arg-type]
        assert (a.output, a.needs) == (b.output, b.needs)
        assert a.identity()["task"] == whole
    assert (Pipeline(task="i2v").output, Pipeline(task="i2v").needs) == ("video", ("prompt", "image"))
    assert (Pipeline(task="v2v").output, Pipeline(task="v2v").needs) == ("video", ("prompt", "video"))
    assert Pipeline(task="unconditional-image-generation").needs == ()
    wordless = Pipeline(path=str(folder), task="i2v", pipeline="StableVideoDiffusionPipeline")
    assert wordless.needs == ("image",), "takes no prompt, so cases need none"


def test_signatures_are_those_of_the_classes() -> None:
    import inspect

    import diffusers

    names = ("StableDiffusionPipeline", "CogVideoXImageToVideoPipeline", "WanPipeline", "DDPMPipeline")
    for name in names:
        known = signatures.signature(name)
        taken = inspect.signature(getattr(diffusers, name).__call__).parameters
        assert known and [*known.parameters] == [
            n for n, p in taken.items() if n != "self" and p.kind is not p.VAR_KEYWORD
        ]
    assert [signatures.signature(name).output for name in names] == ["image", "video", "video", "image"]  # type: ignore[union-attr]
    assert signatures.signature("NoPipeline") is None
    assert {"dtype", "variant", "use_safetensors"} <= signatures.load_arguments()


def test_the_same_content_is_the_same_checkpoint_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "moved"
    shutil.copytree(folder, other)
    assert identity(other) == identity(folder)
    assert {"path", "revision"} <= set(Pipeline.execution_only)
    (other / "README.md").write_text("not part of it")
    assert identity(other) == identity(folder)


@pytest.mark.parametrize("what", ["tensor", "config", "bin"])
def test_other_content_is_another_checkpoint(folder: Path, what: str) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    if what == "bin":
        path.unlink()
        path = path.with_suffix(".bin")
        path.write_bytes(bytes(6_000_000))
    else:
        weights(path, tensors=40, values=50_000)  # 8 MB: sampled
    before = identity(folder)["checkpoint"]
    if what == "config":
        (folder / "vae" / "config.json").write_text('{"scaling_factor": 0.2}')
    else:
        content = bytearray(path.read_bytes())
        first = len(content) * 3 // 4
        content[first : first + 200_000] = b"\x01" * 200_000  # one tensor's size: trained further, of the same size
        path.write_bytes(content)
    assert identity(folder)["checkpoint"] != before


def test_auto_is_the_dtype_of_the_denoiser(folder: Path) -> None:
    assert identity(folder)["dtype"] == "float32" == identity(folder, dtype="float32")["dtype"]
    for path in (folder / "unet").glob("*.safetensors"):
        weights(path, "BF16", values=1000)
    assert identity(folder)["dtype"] == "bfloat16"
    assert identity(folder, dtype="float16")["dtype"] == "float16"
    assert identity(folder, dtype={"default": "auto", "vae": "float32"})["dtype"] == {
        "default": "bfloat16",
        "vae": "float32",
    }


def snapshot(cache: Path, folder: Path) -> Path:
    """Put the checkpoint where huggingface_hub keeps org/sd."""
    place = cache / "models--org--sd"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc123")
    shutil.copytree(folder, place / "snapshots" / "abc123")
    return place / "snapshots" / "abc123"


def test_a_repository_is_named_by_the_files_that_lack(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    assert told("org/sd") == [], "what is missing of the Hub is told by weights, so that it can be fetched"
    (missing,) = Pipeline(path="org/sd", variant="fp16").weights()
    assert missing.wrong() == "is missing" and missing.fetchable and missing.path == cache / "models--org--sd"
    assert "*/*model.fp16.safetensors|*/*model.fp16.bin" in missing.files and "model_index.json" in missing.files
    place = snapshot(cache, folder)
    (whole,) = Pipeline(path="org/sd").weights()
    assert whole.wrong() == "" and told("org/sd") == []
    assert identity(Path("org/sd")) == identity(folder), "by repository or by folder, it is the same checkpoint"
    (place / "unet" / "diffusion_pytorch_model-00003-of-00003.safetensors").unlink()
    (partial,) = Pipeline(path="org/sd").weights()
    assert partial.wrong() == "lacks unet/diffusion_pytorch_model-00003-of-00003.safetensors"
    assert partial.size_mb == pytest.approx(2.0, abs=0.1)
    assert told("org/sd") == []


def test_a_plan_imports_nothing_heavy(folder: Path) -> None:
    code = f"""
import sys
from benchmark.model.pipelines.diffusers import Pipeline
model = Pipeline(path={str(folder)!r}, call={{"width": 64}})
assert not list(model.problems()), list(model.problems())
model.identity(), model.needs, list(model.weights()), model.output_mb()
print(*[name for name in ("torch", "diffusers", "transformers", "numpy", "PIL", "huggingface_hub") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_plan_can_do_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "find_spec", lambda name: None)
    signatures.signature.cache_clear()
    assert list(Pipeline(path=str(folder)).problems()) == [], "it may be there where the stage runs"
    assert "diffusers" in Pipeline.requires
    signatures.signature.cache_clear()
