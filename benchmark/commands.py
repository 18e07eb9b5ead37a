"""Commands on runs that exist, answered without Hydra or torch: status, wait, resume.

A run is named by its folder, by its name (the newest of it), or by `<name>/<timestamp>`, `<name>/latest`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark.errors import EXIT_INCOMPLETE, EXIT_OK, Problem, UserError, closest


def main(arguments: Sequence[str]) -> int:
    """Run one subcommand and return its exit code."""
    parser = argparse.ArgumentParser(prog=f"benchmark {arguments[0]}", description=COMMANDS[arguments[0]].__doc__)
    parser.add_argument("run", help="a run or sweep folder, a name, or name/timestamp")
    parser.add_argument("--output-root", default="outputs", type=Path, help="where names are looked up")
    if arguments[0] == "resume":
        parser.add_argument("--workers", type=int, help="another number of workers than before")
        parser.add_argument(
            "--redo-failed", action="store_true", help="try failed cases again, however often they failed"
        )
    parsed = parser.parse_args(list(arguments[1:]))
    return COMMANDS[arguments[0]](parsed)


def find_runs(name: str, output_root: Path) -> list[Path]:
    """Return the run folders that the words name: one, or all of a sweep. Raises UserError with what there is."""
    from benchmark.store import Store
    from benchmark.sweep import read_sweep

    for folder in (Path(name), output_root / name):
        if not folder.is_dir():
            continue
        for found in (folder, folder / "latest"):
            if Store(found).is_run:
                return [found.resolve() if found.is_symlink() else found]
            sweep = read_sweep(found)
            if sweep is not None:
                where = found.resolve() if found.is_symlink() else found
                return [where / slug for slug in sweep.runs if Store(where / slug).is_run]
    names = [path.name for path in output_root.glob("*") if path.is_dir()] if output_root.is_dir() else []
    wrong = "is no run" if Path(name).exists() else "no such run"
    raise UserError(
        Problem(
            name,
            wrong,
            allowed=f"a run folder, or a name in {output_root}: {', '.join(sorted(names))}",
            fix=closest(name, names),
        )
    )


def status(parsed: argparse.Namespace) -> int:
    """Show how far a run is, what its workers do and what failed last."""
    for folder in find_runs(parsed.run, parsed.output_root):
        print("\n".join(_status_lines(folder)))
    return EXIT_OK


def _status_lines(folder: Path) -> list[str]:
    from benchmark.journal import Watcher
    from benchmark.progress import Progress, duration
    from benchmark.reuse import newest_config
    from benchmark.store import open_run

    store = open_run(folder)
    frozen = newest_config(store)
    drivers = list(Watcher(store.journals, frozen.compute.lease_s).living("driver")) if store.journals.is_dir() else []
    state = f"driven by process {drivers[-1].pid} on {drivers[-1].host}" if drivers else "not running"
    lines = [f"{frozen.name} {store.folder.name}: mode={frozen.mode}, {state}"]
    for stage in frozen.stages:
        if stage == "viz":
            continue
        snapshot = Progress(store, frozen, stage).look()
        lines.append(f"  {snapshot.line()}")
        lines += [f"    {w.worker} on {w.host}: {w.state}, {duration(w.since_s)}" for w in snapshot.workers]
    if not drivers:
        lines.append(f"  {'complete' if is_complete(folder) else f'incomplete: python -m benchmark resume {folder}'}")
    return lines


def is_complete(folder: Path) -> bool:
    """Return whether the run has all that its newest invocation asked for."""
    from benchmark.reuse import missing, newest_config
    from benchmark.store import open_run

    store = open_run(folder)
    return not missing(store, newest_config(store))


def wait(parsed: argparse.Namespace) -> int:
    """Wait until nobody works on the run any more; exit as the run does: 0 complete, 1 incomplete."""
    from benchmark.journal import Watcher
    from benchmark.reuse import newest_config
    from benchmark.store import open_run

    folders = find_runs(parsed.run, parsed.output_root)
    for folder in folders:
        store = open_run(folder)
        watcher = Watcher(store.journals, newest_config(store).compute.lease_s)
        while any(True for _ in watcher.living()):
            time.sleep(1)
    complete = all(is_complete(folder) for folder in folders)
    print("complete" if complete else f"incomplete: python -m benchmark resume {parsed.run}")
    return EXIT_OK if complete else EXIT_INCOMPLETE


def resume(parsed: argparse.Namespace) -> int:
    """Go on with a run from its frozen config, whatever conf/ says by now."""
    import msgspec

    from benchmark.freeze import refreeze
    from benchmark.reuse import newest_config, next_passes
    from benchmark.start import launch
    from benchmark.store import open_run

    runs = []
    for folder in find_runs(parsed.run, parsed.output_root):
        store = open_run(folder)
        frozen = newest_config(store)
        if frozen.mode != "infer":
            frozen = msgspec.structs.replace(frozen, mode="all")  # whatever the last look at it was for
        if parsed.workers:
            compute = msgspec.structs.replace(frozen.compute, workers=parsed.workers)
            frozen = msgspec.structs.replace(frozen, compute=compute)
        frozen = next_passes(store, frozen, ["failed"] if parsed.redo_failed else [])
        refreeze(store, frozen)
        runs.append((store, frozen))
        print(f"going on with {store.folder}", flush=True)
    return launch(runs)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"status": status, "wait": wait, "resume": resume}
