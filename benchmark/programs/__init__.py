"""Outside programs: any command in an environment of its own, called for outputs or for scores.

Nothing here goes through a shell. A program runs under a supervisor (supervisor.py) that ends it, with all that it started,
when its time is over or when the worker is gone. What it says goes to the worker's log; its last lines go into the error of a
case that failed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmark.errors import Problem
from benchmark.media import file_digest
from benchmark.programs.placeholders import Vocabulary, fill, placeholders

PYTHON = "{python}"
INTERPRETERS = re.compile(r"python[\d.]*|(ba|da|z|k|fi)?sh|perl|Rscript|julia|node|ruby")
CODE_OPTION = re.compile(r"-[A-Za-z]*c")  # bash -c, bash -euc, python -c
OURS = ("GENBENCH_PARENT", "GENBENCH_WORKER")
CODE = str(Path(".work", "code"))  # where a run folder has the links that make our package importable for workers
SHEBANG = b"#!"

Word = str | int | float


@dataclass(frozen=True)
class Program:
    """A command and what it runs in; its words and the values of its variables may hold placeholders.

    `where` is the config key of the component ("model"). `command` is a list of words, or one text that is split into words
    as a shell would, quotes included, and that nothing else of a shell applies to.
    """

    where: str
    command: str | Sequence[Word]
    environment: Mapping[str, Word] = field(default_factory=dict)
    cwd: str | None = None

    @cached_property
    def words(self) -> list[str]:
        """The words of the command, placeholders unfilled. Raises: ValueError for a quotation without its end."""
        words = shlex.split(self.command) if isinstance(self.command, str) else [str(word) for word in self.command]
        return [str(Path(word).expanduser()) if word.startswith("~/") else word for word in words]

    @cached_property
    def name(self) -> str:
        """What the log calls it: the script's name, else the program's."""
        script = self._script()
        return Path(script or fill(self.words[0], {"python": "python"})).name

    def placeholders(self) -> list[str]:
        """Return the names of all placeholders, in the words and in the environment; none of what can't be read."""
        try:
            return [name for text in (*self.words, *map(str, self.environment.values())) for name in placeholders(text)]
        except ValueError:
            return []

    def problems(self, vocabulary: Vocabulary) -> Iterator[Problem]:
        """Yield what is wrong with the command, the folder and the variables."""
        try:
            words = self.words
        except ValueError as error:
            wrong = f"can't be split into words: {error}"
            yield Problem(self._key("command"), wrong, str(self.command), fix="close the quotation")
            return
        if not words:
            fix = f'name a program: {self._key("command")}="python script.py ..."'
            yield Problem(self._key("command"), "is empty", fix=fix)
            return
        for word in words:
            yield from vocabulary.problems(self._key("command"), word)
        for variable, value in self.environment.items():
            yield from vocabulary.problems(self._key(f"environment.{variable}"), str(value))
        if self.cwd is not None and not Path(self.cwd).expanduser().is_dir():
            yield Problem(
                self._key("cwd"), "there is no such folder", self.cwd, fix="give a folder that exists, or null"
            )
            return
        yield from self._missing()
        yield from self._code()

    def _missing(self) -> Iterator[Problem]:
        """Yield a problem for a program or a script that is not there."""
        first, script = self.words[0], self._script()
        at = f"seen from {self._folder()}"
        if "{" not in first and not self._executable():
            by_path = f"give its path, {at}, or install it"
            yield Problem(self._key("command"), "there is no such program", first, fix=by_path)
        elif script and not self._path(script).is_file():
            yield Problem(self._key("command"), "there is no such script", script, fix=f"give its path, {at}")

    def _code(self) -> Iterator[Problem]:
        """Yield a problem for a placeholder where a value would be read as code."""
        for index, word in enumerate(self.words[1:], 1):
            before = self.words[index - 1]
            interpreters = [other for other in self.words[:index] if _is_interpreter(other)]
            if CODE_OPTION.fullmatch(before) and interpreters and placeholders(word):
                name = Path(interpreters[-1]).name
                wrong = f"a placeholder inside the code of {name} {before}: whatever a prompt holds would be executed"
                fix = f"""pass it on as an argument: bash -c 'program --prompt="$1"' _ {{{placeholders(word)[0]}}}"""
                yield Problem(self._key("command"), wrong, word, fix=fix)

    def identity(self) -> dict[str, str]:
        """Return the sha256 of each file that the command names (a script, its settings, a checkpoint), by its word."""
        found = {}
        program = Path(self._executable() or "")
        if program.is_file() and _is_script(program):  # an interpreter differs from machine to machine
            found[self.words[0]] = file_digest(program)
        for word in self.words[1:]:
            for name in (word, word.partition("=")[2]):  # --config=video.yaml
                if name and "{" not in name and self._path(name).is_file():
                    found[name] = file_digest(self._path(name))
        return found

    def filled(self, values: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return the words and the whole environment of a call. Raises: KeyError for a placeholder without a value."""
        values = {**values, "python": sys.executable}
        own = {name: fill(str(value), values) for name, value in self.environment.items()}
        return [fill(word, values) for word in self.words], {**self._inherited(), **own}

    def folder(self) -> str | None:
        """Return the folder to run in; None for the worker's."""
        return None if self.cwd is None else str(Path(self.cwd).expanduser().absolute())

    def _inherited(self) -> dict[str, str]:
        """Return our own environment without what is there for us: a program has an interpreter and packages of its own."""
        kept = {name: value for name, value in os.environ.items() if name not in OURS}
        paths = kept.pop("PYTHONPATH", "").split(os.pathsep)
        if others := [path for path in paths if path and not path.endswith(CODE)]:
            kept["PYTHONPATH"] = os.pathsep.join(others)
        program = self._executable() or ""
        if not Path(program).is_relative_to(kept.get("VIRTUAL_ENV", "/")):
            kept.pop("VIRTUAL_ENV", None)
        if program != sys.executable:
            kept.pop("PYTHONHOME", None)
        return kept

    def _executable(self) -> str | None:
        first = self.words[0]
        if first == PYTHON:
            return sys.executable
        if "/" in first:
            return shutil.which(self._path(first))
        return shutil.which(first, path=str(self.environment.get("PATH") or os.environ.get("PATH", "")))

    def _script(self) -> str:
        """Return the script that an interpreter is given right away, or ""."""
        if len(self.words) < 2 or not _is_interpreter(self.words[0]):
            return ""
        return "" if self.words[1].startswith("-") or "{" in self.words[1] else self.words[1]

    def _folder(self) -> Path:
        return Path(self.folder() or Path.cwd())

    def _path(self, name: str) -> Path:
        return self._folder() / Path(name).expanduser()

    def _key(self, name: str) -> str:
        return f"{self.where}.{name}"


def _is_interpreter(word: str) -> bool:
    return word == PYTHON or bool(INTERPRETERS.fullmatch(Path(word).name))


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == SHEBANG
