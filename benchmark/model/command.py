"""Any program as a model: a script in an environment of its own, called for each chunk or kept running."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from benchmark.errors import Problem
from benchmark.media import MediaFile, probe
from benchmark.model import Kind, Request
from benchmark.programs import Program, Word
from benchmark.programs.call import Capture, call
from benchmark.programs.conversation import ANSWERS, Conversation
from benchmark.programs.folder import HeldFile, WorkFolder, bare, named_plainly
from benchmark.programs.placeholders import Vocabulary, named, needs_of

SUFFIXES: dict[Kind, str] = {"video": ".mp4", "image": ".png", "text": ".txt"}
SINGLE = ("prompt", "negative_prompt", "seed", "sample", "case_id", "category", "output", "image", "video")
WAYS_OUT = ("output", "outputs", "requests")


@dataclass
class Command:
    """Outputs of an outside program; conf/model/command.yaml explains each argument and what is exchanged."""

    command: str | list[Word]
    output: Kind = "video"
    suffix: str | None = None
    protocol: Literal["files", "lines"] = "files"
    needs: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Word] = field(default_factory=dict)
    cwd: str | None = None
    timeout_min: Annotated[float, Meta(gt=0)] | None = None
    load_timeout_min: Annotated[float, Meta(gt=0)] | None = None
    batch_size: Annotated[int, Meta(ge=1)] = 1
    revision: str = ""

    version: ClassVar[str] = "1"
    decodes: ClassVar[bool] = False
    execution_only: ClassVar[tuple[str, ...]] = ("needs", "timeout_min", "load_timeout_min", "batch_size")

    def __post_init__(self) -> None:
        self._program = Program("model", self.command, self.environment, self.cwd)
        self._suffix = SUFFIXES[self.output] if self.suffix is None else self.suffix
        self._device = "cpu"
        self._conversation: Conversation | None = None
        used = needs_of(self._program.placeholders())
        self.needs = list(dict.fromkeys([*self.needs, *used]))

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the command, its placeholders, and what is there to start."""
        yield from self._program.problems(self._vocabulary())
        if self._suffix and not self._suffix.startswith("."):
            yield Problem(
                "model.suffix", "does not open with a dot", self._suffix, '.mp4, .png, ... or "" for a folder'
            )
        used = self._program.placeholders()
        if not self.command or self.protocol == "lines" or "requests" in used:
            return
        if self.batch_size > 1:
            fix = "give it {requests}, or batch_size: 1"
            yield Problem("model.command", f"does not tell the program which {self.batch_size} cases to do", fix=fix)
        elif self.output != "text" and not set(used) & set(WAYS_OUT):
            fix = "give it {output} (a file), {outputs} (a folder) or {requests} (a JSON file that tells all)"
            yield Problem("model.command", f"does not tell the program where the {self.output} is to go", fix=fix)

    def identity(self) -> dict[str, str]:
        """Return the sha256 of the files that the command names."""
        return self._program.identity()

    def load(self, device: str) -> None:
        """Start a program that speaks lines; raises what keeps it from becoming ready."""
        self._device = device
        if self.protocol == "lines":
            self._folder = WorkFolder()
            values = {"device": device, **named("options", self.options)}
            self._conversation = Conversation(self._program, values, self._folder, lists=self.batch_size > 1)
            self._conversation.start(self.load_timeout_min)

    def generate(self, requests: Sequence[Request]) -> list[MediaFile | str | Exception]:
        """Return an output per request: a file that the program wrote, or its text; an exception where it gave none.

        Raises: ChildProcessError, TimeoutError or ValueError if the call as a whole came to nothing.
        """
        try:
            found = self._ask(requests) if self.protocol == "lines" else self._call(requests)
        except (OSError, ValueError) as error:
            raise bare(error).with_traceback(error.__traceback__) from error.__cause__
        return [bare(one) if isinstance(one, Exception) else one for one in found]

    def _vocabulary(self) -> Vocabulary:
        if self.protocol == "lines":
            always: tuple[str, ...] = ("device", "python", "options.")
            unless = "read it from the lines on stdin, or protocol: files"
            return Vocabulary(always, (*SINGLE, *WAYS_OUT, "input.", "fields."), False, unless, self.options)
        always = ("requests", "outputs", "device", "python", "options.")
        unless = "batch_size: 1, or read it from {requests}"
        return Vocabulary(always, (*SINGLE, "input.", "fields."), self.batch_size == 1, unless, self.options)

    def _call(self, requests: Sequence[Request]) -> list[MediaFile | str | Exception]:
        folder = WorkFolder()
        outputs = folder.sub("outputs")
        asked = [self._asked(request, outputs) for request in requests]
        listed = folder.path / "requests.json"
        listed.write_text(json.dumps(asked, ensure_ascii=False, indent=1), encoding="utf-8")
        values = {"requests": str(listed), "outputs": str(outputs), "device": self._device}
        values |= named("options", self.options)
        if self.batch_size == 1:
            values |= self._single(requests[0], asked[0])
        capture = Capture() if self._prints() else None
        log = call(self._program, values, folder.path, self.timeout_min, capture)
        if capture:
            return [capture.text]
        return [self._found(Path(one["output"]), folder, log.last_words()) for one in asked]

    def _prints(self) -> bool:
        """Return whether the program's stdout is its answer: a text, and no other way is named."""
        return self.output == "text" and not set(self._program.placeholders()) & set(WAYS_OUT)

    def _asked(self, request: Request, outputs: Path) -> dict[str, Any]:
        """Return a request as JSON has it."""
        case = request.case
        return {
            "case_id": case.id,
            "sample": request.sample,
            "category": case.category,
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "seed": request.seed,
            "inputs": case.inputs,
            "fields": case.fields,
            "options": self.options,
            "output": str(outputs / f"{case.id}-{request.sample}{self._suffix}"),
        }

    @staticmethod
    def _single(request: Request, asked: dict[str, Any]) -> dict[str, str]:
        plain = {name: str(asked[name]) for name in SINGLE if name in asked}
        return plain | named("input", request.case.inputs) | named("fields", request.case.fields)

    def _ask(self, requests: Sequence[Request]) -> list[MediaFile | str | Exception]:
        conversation = self._conversation
        assert conversation, "generate before load"
        folder = WorkFolder(inside=self._folder)  # a new one each time: what an earlier try has left is no answer
        asked = [self._asked(request, folder.sub("outputs")) for request in requests]
        question = asked[0] if self.batch_size == 1 else asked
        said = conversation.ask(question, self.timeout_min, self.load_timeout_min)
        answers = said if isinstance(said, list) else [said]
        wrong = next((answer for answer in answers if not _is_answer(answer)), None)
        if wrong is not None or len(answers) != len(asked) or not all(map(_is_to, answers, asked)):
            conversation.end()  # who knows what its next answer would be to
            if wrong is not None:
                raise ValueError(f"{self._no_answer(wrong)}{conversation.last_words()}")
            raise ValueError(f"{self._program.name} gave answers to something else: {_quoted(said)}")
        return [self._answered(answer, folder, conversation.last_words()) for answer in answers]

    def _answered(self, answer: dict[str, Any], folder: WorkFolder, said: str) -> MediaFile | str | Exception:
        name, key = self._program.name, "text" if self.output == "text" else "output"
        if answer.get("error"):
            return RuntimeError(f"{name}: {answer['error']}")
        if not isinstance(answer.get(key), str):
            return ValueError(self._no_answer(answer))
        if key == "text":
            return str(answer[key])
        path = Path(self._program.folder() or ".", answer[key])
        if not path.exists():
            looked = f"looked for: {path.absolute()}"
            return FileNotFoundError(
                f"{name} answered {answer[key]!r:.500}, but there is no such file\n  {looked}{said}"
            )
        return self._found(path, folder, said)

    def _no_answer(self, said: Any) -> str:
        """Return what was said in the place of an answer, and what is allowed."""
        key, value = ("text", '"..."') if self.output == "text" else ("output", "path")
        allowed = f'allowed: {{"{key}": {value}}} or {{"error": "..."}}'
        return f'{self._program.name} gave no "{key}": {_quoted(said)}; {allowed}'

    def _found(self, path: Path, folder: WorkFolder, said: str) -> MediaFile | str | Exception:
        """Return an output that lies in a file, or why it is none."""
        name, expected = self._program.name, path.name
        if not path.exists() and path.is_relative_to(folder.path):
            path = self._only(path)
        if not path.exists():
            there = ", ".join(sorted(str(other.relative_to(path.parent)) for other in path.parent.rglob("*"))[:8])
            left = f"expected: {expected}; there: {there or 'nothing'}"
            return FileNotFoundError(f"{name} ended without an error but left no {self.output}\n  {left}{said}")
        try:
            if self.output == "text":
                return path.read_text(encoding="utf-8").rstrip("\r\n")
            path = _own(path, folder)
            probe(path)
        except ValueError as error:
            why = str(error).replace(str(path), path.name)
            return ValueError(f"{name} left no readable {self.output}\n  {why}{said}")
        except OSError as error:  # such as a full disk
            return bare(error)
        return HeldFile(path, folder=folder)

    def _only(self, path: Path) -> Path:
        """Return the one file of the right kind below the folder for outputs, whatever its name, when one was asked for."""
        if self.batch_size > 1 or self.protocol == "lines" or not self._suffix:
            return path
        found = [other for other in path.parent.rglob(f"*{self._suffix}") if other.is_file()]
        return found[0] if len(found) == 1 else path


def _is_answer(answer: Any) -> bool:
    return isinstance(answer, dict) and not set(ANSWERS).isdisjoint(answer)


def _quoted(said: Any) -> str:
    return f"{named_plainly(json.dumps(said, ensure_ascii=False)):.160}"


def _is_to(answer: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Return whether an answer is to what was asked, if it says to what."""
    return all(answer.get(name, asked[name]) == asked[name] for name in ("case_id", "sample"))


def _own(path: Path, folder: WorkFolder) -> Path:
    """Return the file if it lies in the work folder, else a copy: what is returned is moved, and others' files stay."""
    if not path.is_symlink() and path.resolve().is_relative_to(folder.path.resolve()):
        return path
    copy = Path(tempfile.mkdtemp(dir=folder.path)) / path.name
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        shutil.copyfile(path, copy)
    return copy
