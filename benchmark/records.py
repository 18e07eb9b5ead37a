"""The records of a run, one JSON line each: Case, Prediction, Score, and the control lines of a journal.

Every line names its kind and version (`"record":"prediction/1"`), so a reader meets a newer format with a clear error
instead of a guess. Records hold paths, numbers and text, never tensors. docs/formats.md describes each field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

import msgspec

Status = Literal["ok", "failed"]


class Key(NamedTuple):
    """What a prediction is identified by inside a run."""

    case_id: str
    sample: int


class Case(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="record", tag="case/1"):
    """One item of a dataset.

    `inputs` maps a role ("image", "video", "reference", ...) to an absolute path, `digests` the same roles to the sha256 of
    the file's content (filled in by the plan). `fields` holds whatever else the dataset knows of the case. `cost` is a hint
    of how long it takes, in any unit: costly cases start first.
    """

    id: str
    category: str = ""
    prompt: str = ""
    inputs: dict[str, str] = {}
    digests: dict[str, str] = {}
    fields: dict[str, Any] = {}
    cost: float = 1.0


class Choice(msgspec.Struct, frozen=True):
    """One possible answer to a case, as a language model weighs it: the sum of its tokens' log-probabilities (natural),
    how many tokens it has, and whether greedy decoding would have given just it."""

    text: str
    log_likelihood: float
    tokens: int
    greedy: bool


class Prediction(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="prediction/1"):
    """What a model made for one (case, sample).

    `files` maps a role ("video", "frames", "image") to a path relative to the run folder (absolute for files that lie
    elsewhere). `choices` are a language model's log-likelihoods of the answers that the case offers. `sha256` covers all
    files, or the text and the choices. `latency_s` is the wall time of the call that made the whole batch.
    `attempt` counts the passes over the run's failed cases, from 0.
    """

    case_id: str
    sample: int
    status: Status
    files: dict[str, str] = {}
    text: str | None = None
    choices: list[Choice] = []
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    seed: int | None = None
    batch_size: int | None = None
    latency_s: float | None = None
    peak_memory_gb: float | None = None
    quality_flags: list[str] = []
    fingerprint: str
    attempt: int = 0
    worker: str = ""
    error: str | None = None


class Score(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="score/1"):
    """One metric's value for one prediction, or for the whole set (then `case_id` is null).

    `metric` is `<option>/<name>`. `value` is null unless `status` is ok; it is always finite. The score is valid only for
    the prediction whose sha256 it names and while the metric's fingerprint is the same.
    """

    case_id: str | None
    sample: int
    category: str
    metric: str
    status: Status
    value: float | None = None
    error: str | None = None
    details: dict[str, Any] = {}
    prediction_sha256: str | None = None
    fingerprint: str
    attempt: int = 0
    worker: str = ""


class Life(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="life/1"):
    """The first line of a journal: which process writes it, so that others can tell whether it still lives."""

    journal: str
    role: Literal["worker", "driver"]
    stage: str
    worker: str
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    start_time: str
    code: str
    config: str
    time: float


class Start(msgspec.Struct, frozen=True, tag_field="record", tag="start/1"):
    """A batch that is about to be worked on: its (case, sample) keys, and the attempt it belongs to."""

    keys: list[Key]
    attempt: int
    time: float


class Abandon(msgspec.Struct, frozen=True, tag_field="record", tag="abandon/1"):
    """Keys that were started and given back unharmed, which is no death."""

    keys: list[Key]


class Death(msgspec.Struct, frozen=True, tag_field="record", tag="death/1"):
    """How a worker ended, as its parent saw it."""

    worker: str
    pid: int
    how: str
    time: float


class End(msgspec.Struct, frozen=True, tag_field="record", tag="end/1"):
    """The last line of a journal whose writer left in order."""

    reason: str
    time: float


Line = Case | Prediction | Score | Life | Start | Abandon | Death | End

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)
_TAG = re.compile(rb'\{"record":"([a-z]+)/([0-9]{1,6})"')


def version_of(line: bytes) -> tuple[str, int]:
    """Return the kind and version that a line names, or ("", 0)."""
    found = _TAG.match(line)
    return (found[1].decode(), int(found[2])) if found else ("", 0)


VERSIONS = dict(version_of(b'{"record":"%b"' % kind.__struct_config__.tag.encode()) for kind in get_args(Line))


def encode(record: Line) -> bytes:
    """Return the record as one JSON line, newline included."""
    return _encoder.encode(record) + b"\n"


def encode_lines(records: Iterable[Line]) -> bytes:
    """Return the records as JSON lines, one after the other."""
    return _encoder.encode_lines(records)


def decode(line: bytes) -> Line:
    """Return the record of one JSON line; raise msgspec.DecodeError on anything else."""
    return _decoder.decode(line)


def digest(value: object, length: int = 16) -> str:
    """Return the first `length` hexadecimal digits of the sha256 of a plain value, independent of the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:length]


def sample_seed(run_seed: int, case_id: str, sample: int) -> int:
    """Return the seed of one sample in [0, 2**32): it depends on nothing but its three arguments."""
    text = f"{run_seed}\0{case_id}\0{sample}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "little")
