"""What can be wrong with the settings of a diffusers pipeline, told when a run is planned, without importing diffusers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmark.errors import Problem, closest, some
from benchmark.model import Kind, checkpoints
from benchmark.model.checkpoints import INDEX, Checkpoint
from benchmark.model.pipelines import signatures
from benchmark.model.pipelines.signatures import Signature

if TYPE_CHECKING:
    from benchmark.model.pipelines.diffusers import Pipeline


class Task(NamedTuple):
    """What a task makes, of which inputs of a case, and whether it goes by a prompt. Names are the Hub's."""

    name: str
    output: Kind
    inputs: tuple[str, ...] = ()
    prompted: bool = True


_ALL = {
    "t2i": Task("text-to-image", "image"),
    "i2i": Task("image-to-image", "image", ("image",)),
    "t2v": Task("text-to-video", "video"),
    "i2v": Task("image-to-video", "video", ("image",)),
    "v2v": Task("video-to-video", "video", ("video",)),
}
_UNCONDITIONAL = Task("unconditional-image-generation", "image", prompted=False)
TASKS = {**_ALL, **{task.name: task for task in (*_ALL.values(), _UNCONDITIONAL)}}

INSTEAD = {  # arguments of a call that the run itself gives
    "prompt": "prompts.template",
    "negative_prompt": "prompts.negative",
    "generator": "seed",
    "num_images_per_prompt": "samples",
    "num_videos_per_prompt": "samples",
    "batch_size": "model.batch_size",
    "image": "the dataset",
    "video": "the dataset",
    "output_type": "",
    "return_dict": "",
}
TENSORS = re.compile(r"latents$|_embeds|_mask$|^callback|^ip_adapter_image|_image$")  # no text stands for these
INSTEAD_OF_LOAD = {
    "dtype": "model.dtype",
    "torch_dtype": "model.dtype",
    "variant": "model.variant",
    "revision": "model.revision",
    "cache_dir": "cache_dir",
    "local_files_only": "offline",
    "device_map": "model.memory",
}


def usual_files(variant: str | None) -> tuple[str, ...]:
    """Return patterns for what a repository of a pipeline holds that is needed, before its model_index.json is known."""
    infix = f".{variant}" if variant else ""
    names = (
        f"*/*model{infix}",
        f"*/*model{infix}-?????-of-?????",
    )  # transformers' and diffusers' weights, whole and in shards
    weights = [f"{name}.safetensors|{name}.bin" for name in names]
    return (INDEX, "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja", "*.py", *weights)


def problems(settings: Pipeline) -> Iterator[Problem]:
    """Yield all that is wrong, as far as it can be told from what lies here."""
    try:
        checkpoint = settings.checkpoint
    except ValueError as error:
        allowed = f"a folder with {INDEX}, as save_pretrained makes it, or a repository of the Hub: org/name"
        yield Problem("model.path", f"is no checkpoint of a pipeline: {error}", settings.path, allowed)
        return
    if checkpoint:
        yield from _file_problems(settings, checkpoint)
        yield from _component_problems(settings, checkpoint)
    else:
        yield from _path_problems(settings.path)
    yield from _class_problems(settings)
    yield from _scheduler_problems(settings)
    if known := settings.signature:
        yield from argument_problems(settings, known)


def _path_problems(path: str) -> Iterator[Problem]:
    allowed = "a folder, or a repository of the Hub: org/name"
    if not path:
        yield Problem("model.path", "names no checkpoint", "", allowed, "set model.path=...")
    elif Path(path).expanduser().is_file():
        fix = f"give the folder that holds {INDEX}; a single file is made one by from_single_file and save_pretrained"
        yield Problem("model.path", "is a file", path, allowed, fix)
    elif not checkpoints.is_hub_id(path):
        parent = Path(path).expanduser().parent
        near = closest(Path(path).name, (found.name for found in parent.iterdir())) if parent.is_dir() else ""
        yield Problem("model.path", "there is no such folder", path, allowed, near)


def _file_problems(settings: Pipeline, checkpoint: Checkpoint) -> Iterator[Problem]:
    """Yield what lacks in a folder of the user's (of the Hub's files, `weights` tells), and what is damaged anywhere."""
    if not checkpoints.is_of_hub(settings.path):
        for name in checkpoint.lacking:
            component = name.partition("/")[0]
            wrong = f"the checkpoint lacks {name}"
            if checkpoint.lacking_mb and checkpoints.SHARD.search(name):
                wrong += f" (all that lacks: about {checkpoint.lacking_mb:,.1f} MB)"
            yield Problem("model.path", wrong, settings.path, fix=f"put it into {checkpoint.folder / component}")
    for name, wrong in checkpoints.damaged(checkpoint):
        fix = f"remove {(checkpoint.folder / name).resolve()} and fetch it again"
        yield Problem("model.path", f"{name} {wrong}", settings.path, fix=fix)
    if settings.variant and settings.variant not in checkpoint.variants:
        found = some(sorted(checkpoint.variants)) or "null: this checkpoint has no variants"
        yield Problem("model.variant", "no weights of this variant", settings.variant, found)


def _component_problems(settings: Pipeline, checkpoint: Checkpoint) -> Iterator[Problem]:
    if isinstance(settings.dtype, dict):
        yield from _unknown("model.dtype", settings.dtype, [*checkpoint.components, "default"])
    for name in ("vae_tiling", "vae_slicing"):
        if getattr(settings, name) and "vae" not in checkpoint.components:
            yield Problem(f"model.{name}", "this checkpoint has no vae", "true", "false")
    if (settings.scheduler or settings.scheduler_kwargs) and "scheduler" not in checkpoint.components:
        yield Problem("model.scheduler", "this checkpoint has no scheduler", str(settings.scheduler), "null")
    for name in settings.load_kwargs:
        if name in INSTEAD_OF_LOAD:
            fix = f"use {INSTEAD_OF_LOAD[name]}"
            yield Problem(f"model.load_kwargs.{name}", "is set by the run itself", fix=fix)
    if known := signatures.load_arguments():
        made = signatures.signature(settings.class_name, "__init__") if settings.class_name else None
        allowed = {*known, *checkpoint.components, *(made.parameters if made else ())} - {*INSTEAD_OF_LOAD}
        yield from _unknown("model.load_kwargs", settings.load_kwargs, sorted(allowed), INSTEAD_OF_LOAD)


def _class_problems(settings: Pipeline) -> Iterator[Problem]:
    checkpoint = settings.checkpoint
    if checkpoint and isinstance(checkpoint.pipeline, list) and not settings.pipeline:
        if not {"custom_pipeline", "trust_remote_code"} & set(settings.load_kwargs):
            fix = "if you trust it: model.load_kwargs.trust_remote_code=true"
            yield Problem("model.path", "the checkpoint brings code of its own", str(checkpoint.pipeline), fix=fix)
    elif settings.class_name and signatures.library() and settings.signature is None:
        names = signatures.classes("pipelines", "Pipeline")
        where = "model.pipeline" if settings.pipeline else "model.path"
        wrong = "this diffusers has no such pipeline" if settings.pipeline else "its pipeline is not in this diffusers"
        yield Problem(where, wrong, settings.class_name, fix=closest(settings.class_name, names))


def _scheduler_problems(settings: Pipeline) -> Iterator[Problem]:
    name = settings.scheduler or _own_scheduler(settings)
    if not name or not signatures.library():
        return
    known = signatures.signature(name, "__init__", "schedulers")
    if known is None:
        names = signatures.classes("schedulers", "Scheduler")
        yield Problem("model.scheduler", "diffusers has no such scheduler", name, some(names, 60), closest(name, names))
    else:
        yield from _unknown("model.scheduler_kwargs", settings.scheduler_kwargs, known.parameters)


def _own_scheduler(settings: Pipeline) -> str:
    return settings.checkpoint.components.get("scheduler", "") if settings.checkpoint else ""


def argument_problems(settings: Pipeline, known: Signature) -> Iterator[Problem]:
    """Yield what is wrong with task and call arguments for a pipeline with this signature."""
    task = TASKS[settings.task]
    if known.output and known.output != task.output:
        right = dict.fromkeys(one.name for one in TASKS.values() if _suits(one, known))
        wrong = f"{known.name} makes {known.output}, where {task.name} wants {task.output}"
        yield Problem("model.task", wrong, settings.task, some(right) or "tasks of pictures and clips")
    given = {*task.inputs, *(("prompt",) if task.prompted else ()), *settings.call}
    for name in task.inputs:
        if name not in known.parameters:
            wrong = f"{known.name} takes no {name}, which {task.name} gives it"
            yield Problem("model.task", wrong, settings.task, fix=_other_class(settings, known, task))
    if task.name.startswith("text-") and "prompt" not in known.parameters:
        others = [one.name for one in (_UNCONDITIONAL, *_ALL.values()) if _suits(one, known)]
        wrong = f"{known.name} takes no prompt, which {task.name} gives it"
        yield Problem("model.task", wrong, settings.task, some(others))
    for name in known.required:
        if name not in given:
            fix = next(
                (f"model.task={t.name}" for t in _ALL.values() if name in t.inputs and t.output == task.output), ""
            )
            wrong = f"{known.name} needs `{name}`, which neither the task nor model.call gives"
            yield Problem("model.task", wrong, settings.task, fix=fix)
    if "generator" not in known.parameters:
        yield Problem("model.path", f"{known.name} takes no generator, so seeds would be without effect", settings.path)
    for name, instead in INSTEAD.items():
        if name in settings.call:
            fix = f"use {instead}" if instead else "leave it out"
            yield Problem(f"model.call.{name}", "is given by the run itself", str(settings.call[name]), fix=fix)
    allowed = [name for name in known.parameters if name not in INSTEAD and not TENSORS.search(name)]
    yield from _unknown("model.call", settings.call, allowed, INSTEAD)


def _suits(task: Task, known: Signature) -> bool:
    text_alone = task.prompted and not task.inputs and "prompt" not in known.parameters
    return task.output == known.output and {*task.inputs} <= {*known.parameters} and not text_alone


def _other_class(settings: Pipeline, known: Signature, task: Task) -> str:
    """Return how to name a pipeline of the same family, with the same components, that takes what the task gives."""
    given, components = {"prompt", *task.inputs}, set(settings.checkpoint.components) if settings.checkpoint else set()
    own = signatures.signature(known.name, "__init__")
    allowed = components | set(own.parameters if own else ())
    fitting = [
        one.name
        for one in signatures.relatives(known)
        if {*task.inputs} <= {*one.parameters} and {*one.required} <= given and one.output in ("", task.output)
        if (made := signatures.signature(one.name, "__init__")) and {*made.required} <= allowed
    ]
    usual = ("Img2Img", "ImageToVideo", "VideoToVideo", "Edit")
    fitting.sort(key=lambda name: not any(word in name for word in usual))
    return " or ".join(f"model.pipeline={name}" for name in fitting[:2])


def _unknown(where: str, given: Iterable[str], allowed: Iterable[str], silent: Iterable[str] = ()) -> Iterator[Problem]:
    allowed = list(allowed)
    for name in given:
        if name not in allowed and name not in silent:
            fix = closest(name, allowed, f"{where}.")
            yield Problem(f"{where}.{name}", "unknown argument", name, some(allowed, 60), fix)
