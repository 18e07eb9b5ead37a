"""The typed config: what a user can set at the top level, and the frozen form that is all a worker ever reads.

Hydra composes; from there on everything is plain and typed. Freezing happens once, when the run is planned: editing a file
under conf/ afterwards changes nothing in a run that goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from benchmark.build import bind
from benchmark.errors import Problem, UserError
from benchmark.ledger import Pass
from benchmark.metrics import Measure
from benchmark.records import digest

STAGES = ("infer", "eval", "viz")
MODES = {"all": STAGES, "infer": ("infer",), "eval": ("eval", "viz"), "viz": ("viz",)}
SPELLINGS = {"full": "all", "infer-only": "infer", "eval-only": "eval", "viz-only": "viz"}
FORMAT = 1
Count = Annotated[int, Meta(ge=1)]
KeepMedia = Literal["all", "failed", "none"]


class Media(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How outputs are written: H.264 quality (0 best to 51), pixel format, and whether lossless frames are kept too."""

    crf: Annotated[int, Meta(ge=0, le=51)] = 18
    pix_fmt: Literal["yuv420p", "yuv444p"] = "yuv420p"
    frames: Literal["none", "png"] = "none"


class StageCompute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of `compute` that one stage has of its own; null takes the common one."""

    workers: Count | Literal["auto"] | None = None
    gpus_per_worker: Annotated[int, Meta(ge=0)] | None = None
    workers_per_gpu: Count | None = None
    devices: list[int | str] | None = None
    python: str | None = None


class Compute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many workers do a stage, on which devices, and when a worker or a case is given up."""

    launcher: str = "local"
    workers: Count | Literal["auto"] = "auto"
    gpus_per_worker: Annotated[int, Meta(ge=0)] = 1
    workers_per_gpu: Count = 1
    devices: list[int | str] | None = None
    python: str | None = None
    lease_s: Annotated[float, Meta(gt=0)] = 60.0
    max_restarts: Annotated[int, Meta(ge=0)] = 8
    max_case_deaths: Annotated[int, Meta(ge=0)] = 3
    case_timeout_min: Annotated[float, Meta(gt=0)] | None = None
    infer: StageCompute = StageCompute()
    eval: StageCompute = StageCompute()

    def of(self, stage: str) -> Compute:
        """Return the settings of a stage, its own over the common ones."""
        own = msgspec.structs.asdict(self.infer if stage == "infer" else self.eval)
        return msgspec.structs.replace(self, **{key: value for key, value in own.items() if value is not None})


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One run as the user asked for it. The groups `model`, `dataset`, `prompts` and each metric stay plain mappings."""

    model: dict[str, Any]
    dataset: dict[str, Any]
    prompts: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    media: Media
    compute: Compute
    mode: Literal["all", "infer", "eval", "viz"] = "all"
    name: str | None = None
    output_root: str = "outputs"
    reuse: str | None = "auto"
    redo: list[str] = []
    limit: Count | None = None
    samples: Count = 1
    seed: Annotated[int, Meta(ge=0)] = 0
    max_attempts: Count = 3
    keep_media: KeepMedia = "all"
    cache_dir: str | None = None
    offline: bool = True
    plugins: list[str] = []
    dry_run: bool = False
    debug: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        return MODES[self.mode]


def typed(plain: Mapping[str, Any]) -> tuple[Config | None, list[Problem]]:
    """Return the typed config of Hydra's plain one, or every mistake in it."""
    values, problems = dict(plain), []
    mode = values.get("mode", "all")
    values["mode"] = SPELLINGS.get(mode, mode) if isinstance(mode, str) else mode
    compute = values.get("compute")
    if isinstance(compute, Mapping):
        compute = dict(compute)
        for stage in ("infer", "eval"):
            compute[stage], found = _section(StageCompute, compute.get(stage), f"compute.{stage}")
            problems += found
    values["compute"], found = _section(Compute, compute, "compute")
    problems += found
    values["media"], found = _section(Media, values.get("media"), "media")
    problems += found
    bound, found = bind(Config, values, "")
    problems += found
    return (None, problems) if problems else (Config(**bound), [])


def _section(struct: type, given: Any, where: str) -> tuple[Any, list[Problem]]:
    """Return a part of the config as its struct (its defaults where it is wrong), and the mistakes in it."""
    if isinstance(given, struct):
        return given, []
    if given is not None and not isinstance(given, Mapping):
        return struct(), [Problem(where, "wrong value", repr(given), "settings (key: value)")]
    bound, problems = bind(struct, given or {}, where)
    return (struct() if problems else struct(**bound)), problems


def without_mistakes(plain: Mapping[str, Any], problems: Sequence[Problem]) -> Config | None:
    """Return the config with each wrong value left at its default, so that planning can find what else is wrong."""
    wrong = {problem.where for problem in problems}
    pruned = _prune(plain, wrong, "")
    for group in ("model", "dataset", "prompts", "metrics"):
        pruned.setdefault(group, {})
    config, _ = typed(pruned)
    return config


def _prune(node: Mapping[str, Any], wrong: set[str], prefix: str) -> dict[str, Any]:
    return {
        key: _prune(value, wrong, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in node.items()
        if f"{prefix}{key}" not in wrong
    }


class Identity(msgspec.Struct, frozen=True):
    """Everything that determines a prediction or a score, key by key, and the fingerprint that stands for it."""

    keys: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        return digest(self.keys)


class MetricPlan(msgspec.Struct, frozen=True):
    """One metrics option of a run: its spec, what identifies its scores, the pass it is in, and the numbers it gives."""

    spec: dict[str, Any]
    identity: Identity
    scope: Literal["case", "set"]
    turn: Pass
    measures: list[Measure]


class CaseSet(msgspec.Struct, frozen=True):
    """Which cases a run has: how many, a digest of all that determines what is made of them, and how many rows of the dataset
    were left out because something is wrong with them."""

    n: int
    digest: str
    excluded: int = 0


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One invocation of a run, resolved: written to configs/<digest>.yaml and never changed."""

    format: int = FORMAT
    name: str
    model_name: str
    mode: str
    model: dict[str, Any]
    dataset: dict[str, Any]
    prompts: dict[str, Any]
    choices: dict[str, str] = {}  # the options chosen: model, dataset, prompts
    metrics: dict[str, MetricPlan]
    media: Media
    compute: Compute
    seed: int
    samples: int
    limit: int | None
    plugins: list[str]
    plugin_folders: dict[str, str]
    cases: CaseSet
    prediction: Identity
    infer: Pass
    debug: bool = False
    keep_media: KeepMedia = "all"
    cache_dir: str | None = None
    offline: bool = True
    cwd: str = ""  # where the command was given: what relative paths of components are relative to

    @property
    def stages(self) -> tuple[str, ...]:
        return MODES[self.mode]

    @property
    def digest(self) -> str:
        return digest(self._plain())

    @property
    def measures(self) -> dict[str, Measure]:
        """The numbers that are expected, by `<option>/<name>`."""
        return {f"{option}/{m.name}": m for option, plan in self.metrics.items() for m in plan.measures}

    @property
    def score_fingerprints(self) -> dict[str, str]:
        return {option: plan.identity.fingerprint for option, plan in self.metrics.items()}

    def to_yaml(self) -> str:
        return yaml.safe_dump(self._plain(), sort_keys=False, allow_unicode=True)

    def _plain(self) -> dict[str, Any]:
        """Return the config as a reader of its file will have it: 0 where a float belongs is 0.0 there."""
        return msgspec.to_builtins(msgspec.convert(msgspec.to_builtins(self), Frozen))


def read_frozen(path: Path) -> Frozen:
    """Return a frozen config. Raises UserError if the file is missing, of a newer format or no config of ours."""
    try:
        plain = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(Problem(str(path), f"can't be read: {error}")) from error
    written = plain.get("format") if isinstance(plain, dict) else None
    if isinstance(written, int) and written > FORMAT:
        fix = "use the version of genbench that wrote it, or a newer one"
        raise UserError(Problem(str(path), "is of a newer format", str(written), f"up to {FORMAT}", fix))
    try:
        return msgspec.convert(plain, Frozen)
    except msgspec.ValidationError as error:
        raise UserError(Problem(str(path), f"is no frozen config of a run: {error}")) from error
