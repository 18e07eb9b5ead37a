"""Loading a pipeline of diffusers as its settings say: class, dtype, scheduler, where its weights are kept meanwhile."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.model.checkpoints import Checkpoint
from benchmark.model.pipelines.signatures import Signature

if TYPE_CHECKING:
    from benchmark.model.pipelines.diffusers import Pipeline


def load(settings: Pipeline, checkpoint: Checkpoint, dtype: Any, device: str) -> tuple[Any, Signature]:
    """Return the pipeline on `device`, and what its call takes. Raises: ValueError for a class that diffusers lacks."""
    import diffusers
    import transformers

    if settings.seed_device == "cuda" and device == "cpu":
        raise ValueError("model.seed_device=cuda needs a GPU, and this worker has none: use model.seed_device=cpu")
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    name = settings.class_name or "DiffusionPipeline"
    if not hasattr(diffusers, name):
        raise ValueError(f"diffusers {diffusers.__version__} has no pipeline {name}")
    arguments = {key: value for key, value in (("variant", settings.variant),) if value} | settings.load_kwargs
    arguments[_dtype_argument(diffusers.__version__)] = _torch_dtype(dtype)
    # The folder, never the repository's name: nothing is looked up on a network, and what was checked is what is loaded.
    pipe = getattr(diffusers, name).from_pretrained(str(checkpoint.folder), local_files_only=True, **arguments)
    pipe.set_progress_bar_config(disable=True)
    if settings.scheduler or settings.scheduler_kwargs:
        kind = getattr(diffusers, settings.scheduler) if settings.scheduler else type(pipe.scheduler)
        pipe.scheduler = kind.from_config(pipe.scheduler.config, **settings.scheduler_kwargs)
    if settings.vae_slicing:
        pipe.vae.enable_slicing()
    if settings.vae_tiling:
        pipe.vae.enable_tiling()
    _place(pipe, settings.memory, device)
    return pipe, signature_of(type(pipe))


def signature_of(cls: type) -> Signature:
    """Return what the call of a loaded class takes."""
    taken = list(inspect.signature(cls.__call__).parameters.values())[1:]
    named = [one for one in taken if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    required = tuple(one.name for one in named if one.default is one.empty)
    return Signature(cls.__name__, Path(inspect.getfile(cls)).parent, tuple(one.name for one in named), required)


def _place(pipe: Any, memory: str, device: str) -> None:
    """Put the pipeline where it runs; without a GPU there is nothing to move away from."""
    if device == "cpu" or memory == "none":
        pipe.to(device)
    elif memory == "model_offload":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)


def _dtype_argument(version: str) -> str:
    """Return what from_pretrained calls the dtype: the older name is deprecated from 0.42 on."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return "dtype" if (major, minor) >= (0, 42) else "torch_dtype"


def _torch_dtype(dtype: Any) -> Any:
    import torch

    if isinstance(dtype, dict):
        return {name: getattr(torch, value) for name, value in dtype.items()}
    return getattr(torch, dtype)
