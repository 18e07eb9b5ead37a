"""Bringing a language model, its tokenizer and its adapter into memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import Problem, UserError


def check_gpus(device: str, gpus: int) -> None:
    """Raise UserError if the worker has fewer GPUs than the model is to be spread over."""
    if gpus == 1:
        return
    import torch

    seen = torch.cuda.device_count() if device == "cuda" else 0
    if seen < gpus:
        wrong = f"the worker has {seen} GPU{'s' if seen != 1 else ''}"
        raise UserError(Problem("model.gpus_per_worker", wrong, str(gpus), fix=f"compute.infer.gpus_per_worker={gpus}"))


def tokenizer(folder: Path | None, options: Mapping[str, Any]) -> Any:
    """Return the tokenizer in a folder. Code that lies there is run only if `options` say trust_remote_code."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(_there(folder), **{"trust_remote_code": False, **options})


def model(folder: Path | None, options: Mapping[str, Any], device: str, gpus: int) -> Any:
    """Return the model in a folder, on `device`, or spread over all GPUs that the worker sees if `gpus` is more than 1.

    The dtype is the checkpoint's own unless `options` name another.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    options = {"trust_remote_code": False, "dtype": "auto", **options}
    options[_dtype_argument(transformers.__version__)] = _dtype(options.pop("dtype"))
    if gpus > 1:
        options.setdefault("device_map", "auto")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(_there(folder), **options)
    return (loaded if "device_map" in options else loaded.to(device)).eval()


def adapted(base: Any, folder: Path | None) -> Any:
    """Return the model with the PEFT adapter in a folder, or as it is without one."""
    if folder is None:
        return base
    from peft import PeftModel

    return PeftModel.from_pretrained(base, folder).eval()


def pad_token(ends: int | list[int] | None) -> int:
    """Return the token that rows are padded with, which no row sees: one that ends an answer, else the first.

    Not the tokenizer's own: it may have been added to the tokenizer alone, and the model has no such embedding then.
    """
    return (ends[0] if isinstance(ends, list) else ends) or 0


def _there(folder: Path | None) -> Path:
    if folder is None:
        raise UserError(Problem("model.path", "is not on this machine any more", fix="benchmark fetch brings it"))
    return folder


def _dtype(name: str) -> Any:
    import torch

    return name if name == "auto" else getattr(torch, name)


def _dtype_argument(version: str) -> str:
    """Return what from_pretrained calls the dtype: it was renamed in transformers 4.56."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return "dtype" if (major, minor) >= (4, 56) else "torch_dtype"
