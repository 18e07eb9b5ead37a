"""The command line: a subcommand, answered without Hydra, or a run that Hydra composes.

The job function only collects what was composed. When Hydra is done, the runs are planned, shown (dry_run) or frozen, and
handed to the launcher that `compute` names; a single run is a sweep of one.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark import commands
from benchmark.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, GenbenchError, Problem, UserError, closest

HERE = Path(__file__).resolve().parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (sys.argv without the program) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a latin-1 terminal must not end a run
    try:
        if arguments and arguments[0] in commands.COMMANDS:
            return commands.main(arguments)
        _refuse_strange_words(arguments)
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
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception:  # noqa: BLE001 - the last resort: ours, so the traceback is shown
        traceback.print_exc()
        print("this is a bug of genbench; nothing that was recorded is lost", file=sys.stderr)
        return EXIT_BUG


def conf_folder() -> Path:
    """Return the folder of config groups: beside the package in a checkout, inside it in a wheel."""
    inside = HERE / "conf"
    return inside if inside.is_dir() else HERE.parent / "conf"


def _refuse_strange_words(arguments: Sequence[str]) -> None:
    takes_value = {
        "--config-dir",
        "-cd",
        "--config-path",
        "-cp",
        "--config-name",
        "-cn",
        "--package",
        "-p",
        "--info",
        "-i",
    }
    for before, word in zip(["", *arguments], arguments, strict=False):
        if word[0:1] in "-~" or "=" in word or before in takes_value | {"--cfg", "-c", "--shell-completion", "-sc"}:
            continue
        names = [*commands.COMMANDS]
        problem = Problem(word, "is neither a command nor key=value", word, ", ".join(names), closest(word, names))
        raise UserError(problem)


def _compose_and_run(arguments: list[str]) -> int:
    from benchmark.quoting import quote_overrides

    multirun = any(word in ("-m", "--multirun") for word in arguments)
    arguments = quote_overrides(arguments, multirun)
    if any(word in arguments for word in ("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i")):
        _hydra(arguments, [])
        return EXIT_OK
    collected: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = []
    problems: list[Problem] = []
    if Path.cwd().as_posix() not in sys.path:
        sys.path.insert(0, Path.cwd().as_posix())  # plugins beside the user, for the console script too
    try:
        _hydra(arguments, collected)
    except Exception as error:  # noqa: BLE001 - told apart in _recover, which raises what is no mistake of the user
        collected, problems = _recover(error, arguments)
    from benchmark.start import start

    return start(collected, problems, multirun, shlex.join(arguments))


def _hydra(arguments: Sequence[str], collected: list) -> None:
    import hydra
    from omegaconf import OmegaConf

    def collect(composed: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        hydra_config = HydraConfig.get()
        plain = OmegaConf.to_container(composed, resolve=True)
        overrides = list(hydra_config.overrides.task)
        collected.append((plain, dict(hydra_config.runtime.choices), overrides))

    with _quiet_hydra(arguments):
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(collect)()


@contextlib.contextmanager
def _quiet_hydra(arguments: Sequence[str]) -> Iterator[None]:
    """Let Hydra see these arguments, raise instead of exiting, and write its one file where it is thrown away."""
    from omegaconf import OmegaConf

    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    scratch = tempfile.mkdtemp(prefix="genbench-") if {"-m", "--multirun"} & set(arguments) else "."
    OmegaConf.register_new_resolver("genbench_scratch", lambda: scratch, replace=True)
    sys.argv = [sys.argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before[0]
        os.environ.pop("HYDRA_FULL_ERROR")
        if before[1] is not None:
            os.environ["HYDRA_FULL_ERROR"] = before[1]
        if scratch != ".":
            shutil.rmtree(scratch, ignore_errors=True)


def _recover(error: Exception, arguments: Sequence[str]) -> tuple[list, list[Problem]]:
    """Return what still composes, and every mistake, when Hydra refused the command line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        raise error
    mistakes = importlib.import_module("benchmark.mistakes")
    overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
    searchpath = [
        str(Path(value).absolute())
        for flag, value in zip(arguments, [*arguments[1:], ""], strict=True)
        if flag in ("--config-dir", "-cd")
    ]
    problems, plain, choices, good = mistakes.find_mistakes(conf_folder(), overrides, searchpath)
    if not problems:
        first = str(error).strip().splitlines()[0]
        problems = [Problem("command line", first, " ".join(arguments))]
    return ([(plain, choices, good)] if plain else []), problems
