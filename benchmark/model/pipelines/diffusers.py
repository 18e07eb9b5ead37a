"""Any pipeline of the diffusers library, by path and task: pictures or clips, from text, a picture or a clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from benchmark.errors import Problem, UserError
from benchmark.framing import crop_resize
from benchmark.media import Image, Video
from benchmark.model import Kind, Request, checkpoints
from benchmark.model.checkpoints import Checkpoint
from benchmark.model.pipelines import checks, signatures
from benchmark.model.pipelines.checks import TASKS, Task
from benchmark.model.pipelines.signatures import Signature
from benchmark.weights import Weights, hub_cache

if TYPE_CHECKING:
    import numpy as np

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
TaskName = Literal[
    "text-to-image", "image-to-image", "text-to-video", "image-to-video", "video-to-video",
    "unconditional-image-generation", "t2i", "i2i", "t2v", "i2v", "v2v",
]  # fmt: skip
Side = Annotated[int, Meta(ge=8, le=8192)]  # pixels


@dataclass
class Pipeline:
    """A diffusers pipeline in the folder or Hub repository `path`, called as `task` says with the arguments in `call`.

    `pipeline` names another class than the checkpoint's own. `input_size` (width, height) is what input pictures and clips
    are cropped and resized to; None: to the call's width and height where it has them, else they stay as they are.
    `input_frames` is how many frames of an input clip are used. Each request has a generator of its own on `seed_device`.
    """

    path: str = ""
    task: TaskName = "text-to-image"
    call: dict[str, Any] = field(default_factory=dict)
    revision: str = "main"
    variant: str | None = None
    pipeline: str | None = None
    dtype: Dtype | dict[str, Dtype] = "auto"
    load_kwargs: dict[str, Any] = field(default_factory=dict)
    scheduler: str | None = None
    scheduler_kwargs: dict[str, Any] = field(default_factory=dict)
    input_size: tuple[Side, Side] | None = None
    input_frames: Annotated[int, Meta(ge=1)] | None = None
    fps: Annotated[float, Meta(gt=0, le=240)] = 8.0
    seed_device: Literal["cpu", "cuda"] = "cpu"
    memory: Literal["none", "model_offload", "sequential_offload"] = "none"
    vae_slicing: bool = False
    vae_tiling: bool = False
    batch_size: Annotated[int, Meta(ge=1)] = 1

    version: ClassVar[str] = "1"
    requires: ClassVar[tuple[str, ...]] = ("torch", "diffusers", "transformers", "accelerate")
    # What these determine is in `identity`, so a checkpoint may move, and be named by its folder or its repository.
    execution_only: ClassVar[tuple[str, ...]] = (
        "path", "revision", "task", "pipeline", "dtype", "memory", "vae_slicing", "batch_size",
    )  # fmt: skip

    @cached_property
    def _task(self) -> Task:
        return TASKS[self.task]

    @property
    def output(self) -> Kind:
        return self._task.output

    @property
    def needs(self) -> tuple[str, ...]:
        """What each case must have: what the task says, without a prompt where the pipeline takes none."""
        known = self.signature
        prompted = self._task.prompted and (known is None or "prompt" in known.parameters)
        return ("prompt",) * prompted + self._task.inputs

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint as it lies on the disk, None if it isn't there. Raises: ValueError if it is no checkpoint."""
        folder = checkpoints.find(self.path, self.revision)
        return checkpoints.read(folder, self.variant) if folder else None

    @property
    def class_name(self) -> str:
        """The class of diffusers that is loaded; "" where the checkpoint is missing or brings code of its own."""
        try:
            own = self.checkpoint.pipeline if self.checkpoint else ""
        except ValueError:
            own = ""
        named = self.pipeline or (own if isinstance(own, str) else "")
        return "" if "custom_pipeline" in self.load_kwargs else named

    @cached_property
    def signature(self) -> Signature | None:
        return signatures.signature(self.class_name) if self.class_name else None

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the path, the files there, the class, and the names of all arguments."""
        yield from checks.problems(self)

    def weights(self) -> Iterator[Weights]:
        """Yield the repository of the Hub, with the very files that are loaded once its model_index.json is here."""
        if not checkpoints.is_of_hub(self.path):
            return
        place = hub_cache() / f"models--{self.path.replace('/', '--')}"
        try:
            found = self.checkpoint
        except ValueError:
            found = None
        files = (*found.files, *found.lacking) if found else checks.usual_files(self.variant)
        size_mb = found.lacking_mb if found else None
        name = f"the pipeline {self.path}" if found else f"the pipeline {self.path} (no folder here, so of the Hub)"
        yield Weights(name, place, size_mb, repository=self.path, revision=self.revision, files=files)

    def identity(self) -> dict[str, Any]:
        """Return a digest of the checkpoint's content, and what the task, class and dtype come down to."""
        known = {"task": self._task.name}
        if self.checkpoint is None:  # it comes before the run starts
            return known | {"path": self.path, "revision": self.revision}
        digest = checkpoints.content_digest(self.checkpoint)
        return known | {"checkpoint": digest, "pipeline": self.class_name, "dtype": self._dtype()}

    def _dtype(self) -> Any:
        assert self.checkpoint
        stored = checkpoints.stored_dtype(self.checkpoint)
        if isinstance(self.dtype, dict):
            return {name: stored if dtype == "auto" else dtype for name, dtype in self.dtype.items()}
        return stored if self.dtype == "auto" else self.dtype

    def output_mb(self) -> float:
        """Estimate the megabytes of one output: 1 bit a pixel of a clip, 2 bytes a pixel of a picture."""
        pixels = _number(self.call.get("width"), 1024) * _number(self.call.get("height"), 1024)
        frames = _number(self.call.get("num_frames"), 81)
        return pixels * frames / 8 / 1e6 if self.output == "video" else pixels * 2 / 1e6

    def load(self, device: str) -> None:
        """Load the pipeline onto `device`. Raises: FileNotFoundError without a checkpoint; UserError for bad arguments."""
        from benchmark.model.pipelines.loading import load

        if self.checkpoint is None:
            raise FileNotFoundError(f"{self.path} ({self.revision}) is not here: neither a folder nor in {hub_cache()}")
        self._pipe, self._takes = load(self, self.checkpoint, self._dtype(), device)
        if problems := list(checks.argument_problems(self, self._takes)):
            raise UserError(problems)
        self._seed_device = self.seed_device if device != "cpu" else "cpu"

    def generate(self, requests: Sequence[Request]) -> list[Image | Video | Exception]:
        """Return an Image or Video per request; those that can't share a call (by the size of their inputs) have their own.

        Raises: ValueError for a negative prompt that the pipeline doesn't take; what the pipeline raises.
        """
        inputs = [self._inputs(request) for request in requests]
        groups: dict[Any, list[int]] = {}
        for i, request in enumerate(requests):
            shapes = tuple(array.shape for array in inputs[i].values())
            groups.setdefault((bool(request.negative_prompt), shapes), []).append(i)
        made: dict[int, Image | Video | Exception] = {}
        for group in groups.values():
            outputs = self._make([requests[i] for i in group], [inputs[i] for i in group])
            made.update(zip(group, outputs, strict=True))
        return [made[i] for i in range(len(requests))]

    def _inputs(self, request: Request) -> dict[str, np.ndarray]:
        """Return the input pictures (H, W, 3) and clips (T, H, W, 3) by name, in the size in which they are given."""
        import numpy as np

        size = self.input_size or (self.call.get("width"), self.call.get("height"))
        resized = (lambda frame: crop_resize(frame, *size)) if all(size) else (lambda frame: frame)
        found = {}
        for role in self._task.inputs:
            if role == "image":
                found[role] = resized(request.image())
            else:
                frames = request.clip(role).frames[: self.input_frames]
                found[role] = np.stack([resized(frame) for frame in frames])
        return found

    def _make(self, requests: Sequence[Request], inputs: Sequence[Mapping[str, np.ndarray]]) -> list[Any]:
        import torch
        from PIL import Image as Pillow

        takes, alone = self._takes.parameters, len(requests) == 1
        lists: dict[str, list[Any]] = {
            "generator": [torch.Generator(self._seed_device).manual_seed(request.seed) for request in requests]
        }
        if "prompt" in takes and self._task.prompted:
            lists["prompt"] = [request.prompt for request in requests]
        if any(request.negative_prompt for request in requests):
            if "negative_prompt" not in takes:
                raise ValueError(f"{self._takes.name} takes no negative prompt: leave prompts.negative empty")
            lists["negative_prompt"] = [request.negative_prompt for request in requests]
        for name in self._task.inputs:
            given = [one[name] for one in inputs]
            lists[name] = [list(map(Pillow.fromarray, v)) if v.ndim == 4 else Pillow.fromarray(v) for v in given]
        arguments = {**self.call, **{name: values[0] if alone else values for name, values in lists.items()}}
        if "output_type" in takes:
            arguments["output_type"] = "np"
        if "batch_size" in takes and not self._task.prompted:
            arguments["batch_size"] = len(requests)
        outputs = _outputs(self._pipe(**arguments), self.output)
        if len(outputs) != len(requests):
            raise ValueError(f"{self._takes.name} made {len(outputs)} outputs for {len(requests)} requests")
        return [self._converted(output) for output in outputs]

    def _converted(self, output: Any) -> Image | Video | Exception:
        try:
            pixels = to_pixels(output)
            return Image(pixels) if self.output == "image" else Video(pixels, self.fps)
        except ValueError as error:
            return ValueError(f"{error} (dtype {self._dtype()})")


def _outputs(result: Any, kind: str) -> Sequence[Any]:
    """Return the pictures or clips of what a pipeline returned."""
    fields = [name for name, what in signatures.OUTPUTS.items() if what == kind]
    for name in fields:
        if (found := getattr(result, name, None)) is not None:
            return found
    raise TypeError(
        f"the pipeline gave {type(result).__name__} without {' or '.join(fields)}: another task than it is for?"
    )


def to_pixels(output: Any) -> np.ndarray:
    """Return a picture (H, W, 3) or clip (T, H, W, 3) as uint8 RGB, from floats in [0, 1], integers or Pillow pictures.

    Raises: ValueError if it has values that are not finite.
    """
    import numpy as np

    if hasattr(output, "convert"):
        return np.asarray(output.convert("RGB"))
    if isinstance(output, (list, tuple)):
        return np.stack([to_pixels(frame) for frame in output])
    array = np.asarray(output)
    if array.dtype.kind == "f":
        bad = 1 - float(np.isfinite(array).mean())
        if bad:
            raise ValueError(f"the output has values that are NaN or infinite ({max(bad, 0.001):.1%} of them)")
        array = (array * 255).round().clip(0, 255).astype(np.uint8)
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array


def _number(value: Any, otherwise: int) -> float:
    return float(value) if isinstance(value, (int, float)) else float(otherwise)
