"""The command line: a subcommand, answered without Hydra, or a run that Hydra composes.

The job function only collects what was composed. When Hydra is done, the runs are planned, shown (dry_run) or frozen, and
handed to the launcher that `compute` names; a single run is a sweep of one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from benchmark import commands
from benchmark.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, GenbenchError, Problem, UserError, closest
from benchmark.invocation import Composed, key_of

HERE = Path(__file__).resolve().parent
FETCH = "fetch"  # the one command that composes: it takes what a run takes
HYDRA_FOLDERS = ["hydra.run.dir=.", "hydra.sweep.dir=${genbench_scratch:}", "hydra.sweep.subdir=."]
HYDRA_FOLDERS += ["hydra.output_subdir=null", "hydra.job.chdir=false"]


class Lasting:
    """An output whose reader may leave (`| head`, a dead tee): what is said is lost then, the run goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._unread():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._unread():
            self._stream.flush()

    @contextlib.contextmanager
    def _unread(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (sys.argv without the program) and return the exit code."""
    with contextlib.redirect_stdout(cast("TextIO", Lasting(sys.stdout))):
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a latin-1 terminal must not end a run
    try:
        if arguments and arguments[0] in commands.COMMANDS:
            return commands.main(arguments)
        if arguments and arguments[0] == FETCH:
            return _compose_and_run(arguments[1:], fetch=True)
        if "--version" in arguments:
            from importlib.metadata import version

            print(f"genbench {version('genbench')}")
            return EXIT_OK
        return _compose_and_run(arguments)
    except UserError as error:
        print(error.message(), file=sys.stderr)
        return error.exit_code
    except GenbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted before anything was started", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001 - the last resort: ours, so the traceback is shown
        traceback.print_exc()
        print("this is a bug of genbench; nothing that was recorded is lost", file=sys.stderr)
        return EXIT_BUG


def conf_folder() -> Path:
    """Return the folder of config groups: beside the package in a checkout, inside it in a wheel."""
    inside = HERE / "conf"
    return inside if inside.is_dir() else HERE.parent / "conf"


def _compose_and_run(words: Sequence[str], fetch: bool = False) -> int:
    command, problems = read_command(words)
    if command.shows:
        return _show(command)
    if Path.cwd().as_posix() not in sys.path:
        sys.path.insert(0, Path.cwd().as_posix())  # plugins beside the user, for the console script too
    composed: list[Composed] = []
    try:
        _hydra(command, composed)
    except Exception as error:  # noqa: BLE001 - told apart in _recover, which raises what is no mistake of the user
        composed, found = _recover(error, command)
        problems += found
    if not composed and not problems:
        fix = "leave hydra/launcher away: genbench starts workers itself, as compute= says"
        problems = [Problem("hydra/launcher", "composed the runs in other processes", fix=fix)]
    from benchmark import start

    return start.fetch(composed, problems) if fetch else start.start(composed, problems)


@dataclass(frozen=True)
class Command:
    """A command line in Hydra's terms: the overrides, its own flags, and what they mean."""

    overrides: list[str]
    flags: list[str]
    multirun: bool
    shows: bool
    config_dir: str | None

    @property
    def words(self) -> list[str]:
        return [*self.overrides, *self.flags]


def read_command(words: Sequence[str]) -> tuple[Command, list[Problem]]:
    """Return the command line with flags and overrides in any order told apart, and a problem per word that is neither.

    Overrides are quoted where Hydra's grammar needs it. Whatever is said of Hydra's own folders is overruled: runs keep
    folders of their own. An unknown flag exits with argparse's usage, code 2.
    """
    from hydra._internal.utils import get_args_parser

    from benchmark.quoting import quote_overrides

    parsed, flags = get_args_parser().parse_intermixed_args(words), list(words)
    for word in parsed.overrides:
        flags.remove(word)
    problems = [_strange(word) for word in parsed.overrides if "=" not in word and word[:1] != "~"]
    multirun = parsed.multirun or "hydra.mode=MULTIRUN" in parsed.overrides
    overrides = [word for word in parsed.overrides if "=" in word or word[:1] == "~"]
    overrides = quote_overrides(overrides, multirun)
    if any(key_of(override).startswith("hydra") for override in overrides):
        overrides += HYDRA_FOLDERS
    if parsed.hydra_help:
        overrides = []  # Hydra's help is of Hydra alone, and stumbles over other overrides
    shows = bool(parsed.help or parsed.hydra_help or parsed.cfg or parsed.info or parsed.shell_completion)
    return Command(overrides, flags, multirun, shows, parsed.config_dir), problems


def _strange(word: str) -> Problem:
    names = [*commands.COMMANDS, FETCH]
    return Problem(word, "is neither a command nor key=value", "", ", ".join(names), closest(word, names))


def _show(command: Command) -> int:
    """Let Hydra print its help, the config or information."""
    try:
        _hydra(command, [])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except Exception as error:
        raise UserError(_recover(error, command)[1]) from error
    return EXIT_OK


def _hydra(command: Command, composed: list[Composed]) -> None:
    import hydra
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    refused: list[OmegaConfBaseException] = []

    def collect(config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        own = HydraConfig.get()
        try:
            plain: Any = OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:  # raised in here, it would make Hydra print words of its own
            refused.append(error)
            return
        multirun = own.mode is not None and own.mode.name == "MULTIRUN"
        given = [text.removeprefix("++") for text in own.overrides.task]  # which we may have added
        overrides = [text for text in given if not key_of(text).startswith("hydra")]
        composed.append(Composed(plain, dict(own.runtime.choices), overrides, multirun, command.flags))

    with _quiet_hydra(command.words):
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(collect)()
    if refused:
        raise refused[0]


@contextlib.contextmanager
def _quiet_hydra(words: Sequence[str]) -> Iterator[None]:
    """Let Hydra see these words, raise instead of exiting, and write its one file where it is thrown away."""
    from omegaconf import OmegaConf

    scratch: list[str] = []

    def scratch_folder() -> str:
        scratch[:] = scratch or [tempfile.mkdtemp(prefix="genbench-")]
        return scratch[0]

    OmegaConf.register_new_resolver("genbench_scratch", scratch_folder, replace=True)
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [sys.argv[0], *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before[0]
        os.environ.pop("HYDRA_FULL_ERROR")
        if before[1] is not None:
            os.environ["HYDRA_FULL_ERROR"] = before[1]
        for folder in scratch:
            shutil.rmtree(folder, ignore_errors=True)


def _recover(error: Exception, command: Command) -> tuple[list[Composed], list[Problem]]:
    """Return what still composes, and every mistake, when Hydra refused the command line."""
    from benchmark import mistakes

    if not mistakes.is_mistake(error):
        raise error
    overrides = [word for word in command.overrides if word not in HYDRA_FOLDERS]
    problems, composed = mistakes.find_mistakes(conf_folder(), overrides, command.config_dir, command.multirun, error)
    return ([composed] if composed else []), problems
