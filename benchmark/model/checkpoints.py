"""A checkpoint of diffusers on the disk: where it lies, which files a load reads, which of them are missing or cut short.

A checkpoint is a folder with a `model_index.json`, which names the pipeline's class and its components, and a folder for each
component. Nothing here imports torch or diffusers: a run is planned with it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from benchmark.media import file_digest
from benchmark.weights import snapshot_of

INDEX = "model_index.json"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
FORMATS = (".safetensors", ".bin")
SHARD = re.compile(r"-\d{5}-of-\d{5}")
WITHOUT_WEIGHTS = ("Tokenizer", "Processor", "FeatureExtractor", "Scheduler", "Guider")  # in the name of the class
DENOISERS = ("transformer", "unet", "prior", "decoder")
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
SAMPLE = 1024  # bytes read of each tensor to tell checkpoints apart
SMALL_MB = 4  # files up to this size are read whole


def is_hub_id(path: str) -> bool:
    """Return whether `path`, which is no folder, can be meant as a repository of the Hugging Face Hub.

    `checkpoints/tiny` is a mistyped folder, not a repository, where there is a folder `checkpoints`.
    """
    return bool(HUB_ID.fullmatch(path)) and ("/" not in path or not Path(path).parent.is_dir())


def is_of_hub(path: str) -> bool:
    """Return whether `path` is a repository of the Hub rather than a folder."""
    return is_hub_id(path) and not Path(path).is_dir()


def find(path: str, revision: str = "main") -> Path | None:
    """Return the folder of a checkpoint: `path` itself, or the snapshot in the Hub's cache; None if there is none."""
    if path and Path(path).expanduser().is_dir():
        return Path(path).expanduser().absolute()
    return snapshot_of(path, revision) if is_hub_id(path) else None


@dataclass
class Checkpoint:
    """What `model_index.json` says, and the files of the folder that a load with this variant reads."""

    folder: Path
    variant: str | None = None
    pipeline: str | list[str] = ""  # the class; with a list, code that lies in the checkpoint
    components: dict[str, str] = field(default_factory=dict)  # class by name
    files: list[str] = field(default_factory=list)  # relative to the folder
    lacking: list[str] = field(default_factory=list)
    lacking_mb: float | None = None  # of what lacks, as far as an index of shards tells
    variants: set[str] = field(default_factory=set)  # all that occur

    def weights(self) -> Iterator[str]:
        """Yield the files that hold tensors."""
        yield from (name for name in self.files if name.endswith(FORMATS))


def read(folder: Path, variant: str | None = None) -> Checkpoint:
    """Return the checkpoint in a folder. Raises: ValueError if it is none: no model_index.json, or one that can't be read."""
    index = _json(folder / INDEX)
    checkpoint = Checkpoint(folder, variant, index.get("_class_name", ""), files=[INDEX])
    for name, value in index.items():
        if isinstance(value, list) and len(value) == 2 and not name.startswith("_") and value[1]:
            checkpoint.components[name] = str(value[1])
            _add_component(checkpoint, name, str(value[1]))
    if not checkpoint.pipeline:
        raise ValueError(f"{folder / INDEX} names no pipeline (_class_name)")
    return checkpoint


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no settings")
    return found


def _add_component(checkpoint: Checkpoint, name: str, kind: str) -> None:
    folder = checkpoint.folder / name
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    checkpoint.files += [
        f"{name}/{file}" for file in held if Path(file).suffix in (".json", ".txt", ".model", ".jinja")
    ]
    if any(word in kind for word in WITHOUT_WEIGHTS):
        settings = "scheduler_config.json" if kind.endswith("Scheduler") else ""
        if not held or (settings and settings not in held):
            checkpoint.lacking.append(f"{name}/{settings or '*'}")
        return
    if "config.json" not in held:
        checkpoint.lacking.append(f"{name}/config.json")
    checkpoint.variants |= {found for file in held if is_weights(file) and (found := variant_of(file))}
    files, lacking = _weights(folder, held, checkpoint)
    checkpoint.files += [f"{name}/{file}" for file in files]
    checkpoint.lacking += [f"{name}/{file}" for file in lacking]


def is_weights(name: str) -> bool:
    """Return whether a file holds a model's weights, or is the index of its shards."""
    return name.startswith(STEMS) and (name.endswith(FORMATS) or ".index." in name)


def variant_of(name: str) -> str:
    """Return "fp16" of model.fp16.safetensors, model.fp16-00001-of-00002.safetensors, model.safetensors.index.fp16.json."""
    words = SHARD.sub("", name).split(".")[1:]
    return next((word for word in words if word not in ("safetensors", "bin", "index", "json")), "")


def _weights(folder: Path, held: list[str], checkpoint: Checkpoint) -> tuple[list[str], list[str]]:
    """Return the weight files of a component that are there and those that lack; one of another variant stands in."""
    ours = [name for name in held if is_weights(name)]
    for variant in (checkpoint.variant, "") if checkpoint.variant else ("",):
        for form in FORMATS:
            names = [name for name in ours if variant_of(name) == variant and form[1:] in name.split(".")]
            if index := next((name for name in names if ".index." in name), None):
                return _shards(folder, index, checkpoint)
            if whole := next((name for name in names if not SHARD.search(name)), None):
                return [whole], []
            if names:
                return names, [_index_of(names[0], variant or "", form)]
    return [], ["*.safetensors"]


def _index_of(shard: str, variant: str, form: str) -> str:
    return ".".join([SHARD.sub("", shard).split(".")[0] + form, "index", *([variant] if variant else []), "json"])


def _shards(folder: Path, index: str, checkpoint: Checkpoint) -> tuple[list[str], list[str]]:
    settings = _json(folder / index)
    names = sorted(set(settings.get("weight_map", {}).values()))
    there = [name for name in names if (folder / name).is_file()]
    lacking = [name for name in names if name not in there]
    total = settings.get("metadata", {}).get("total_size")
    if lacking and total:
        left = total - sum((folder / name).stat().st_size for name in there)
        checkpoint.lacking_mb = (checkpoint.lacking_mb or 0.0) + max(left, 0) / 1e6
    return there, lacking


def damaged(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """Yield each file of weights that was cut short or is none, and what is wrong with it; only headers are read."""
    for name in checkpoint.weights():
        path = checkpoint.folder / name
        try:
            if path.suffix == ".safetensors":
                header(path)
            elif path.stat().st_size == 0:
                yield name, "is empty"
        except (OSError, ValueError) as error:
            yield name, str(error)


def header(path: Path) -> dict[str, Any]:
    """Return what a .safetensors file holds: dtype, shape and place by tensor. Raises: ValueError if it is cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"is cut short or no safetensors file ({size:,} bytes)")
        try:
            tensors: dict[str, Any] = json.loads(file.read(length))
        except ValueError as error:
            raise ValueError("is no safetensors file: its header can't be read") from error
    tensors.pop("__metadata__", None)
    expected = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    if size != expected:
        raise ValueError(f"has {size:,} of {expected:,} bytes: a download broke off")
    return tensors


def stored_dtype(checkpoint: Checkpoint) -> str:
    """Return the dtype that most of the denoiser is stored in; float32, which diffusers takes, where a .bin hides it."""
    names = [name for name in checkpoint.weights() if name.endswith(".safetensors")]
    of_denoiser = [name for part in DENOISERS for name in names if name.startswith(f"{part}/")]
    counts: Counter[str] = Counter()
    for name in of_denoiser or names:
        for tensor in header(checkpoint.folder / name).values():
            counts[tensor["dtype"]] += math.prod(tensor["shape"])
    known = [DTYPES[kind] for kind, _ in counts.most_common() if kind in DTYPES]
    return known[0] if known else "float32"


def content_digest(checkpoint: Checkpoint) -> str:
    """Return a digest that tells checkpoints apart, wherever they lie, without reading gigabytes.

    Settings and tokenizers are read whole. Of weights: the size, the header with the names and shapes of all tensors, and
    SAMPLE bytes from the middle of each tensor, so that training any of them further shows.
    """
    digest = hashlib.sha256()
    for name in sorted(checkpoint.files):
        path = checkpoint.folder / name
        large = path.suffix in FORMATS and path.stat().st_size > SMALL_MB * 1e6
        digest.update(f"{name}\0{_sampled(path) if large else file_digest(path)}\n".encode())
    return digest.hexdigest()


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    places: Iterable[tuple[int, int]] = ((size * k // 256, size * k // 256 + SAMPLE) for k in range(256))
    if path.suffix == ".safetensors":
        tensors = header(path)
        digest.update(json.dumps(tensors, sort_keys=True).encode())
        start = size - max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        places = _middles(tensors, start)
    with path.open("rb", buffering=0) as file:
        _expect_jumps(file)
        for first, last in places:
            file.seek(first)
            digest.update(file.read(last - first))
    return digest.hexdigest()


def _middles(tensors: Mapping[str, Any], start: int) -> Iterator[tuple[int, int]]:
    for first, last in sorted(tensor["data_offsets"] for tensor in tensors.values()):
        middle = (first + last) // 2
        yield start + max(first, middle - SAMPLE // 2), start + min(last, middle + SAMPLE // 2)


def _expect_jumps(file: BinaryIO | Any) -> None:
    """Keep the system from reading ahead, which would read most of a file that is sampled."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
