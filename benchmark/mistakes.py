"""Finding every mistake on the command line when Hydra refuses it: Hydra itself stops at the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmark.errors import Problem, closest, some
from benchmark.invocation import GROUPS, Composed, key_of

MOST_SWEPT = 200


def is_mistake(error: Exception) -> bool:
    """Return whether an exception out of Hydra says that the user's command line or YAML files are wrong.

    Hydra's code raises plain ValueErrors and asserts as well, so what counts is where an exception was raised.
    """
    if isinstance(error, BrokenPipeError):
        return False
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__", "")) if trace else ""
    return module.split(".")[0] in ("hydra", "omegaconf", "yaml", "antlr4", "codecs")


def find_mistakes(
    conf: Path, overrides: Sequence[str], config_dir: str | None, multirun: bool, error: Exception
) -> tuple[list[Problem], Composed | None]:
    """Return a problem per override that Hydra refuses, and what the others compose to (None if nothing does).

    `error` is what Hydra said of all together, shown if no single override is at fault. Of a group whose option is unknown
    nothing more can be said: its choice is "", and its other overrides are left out. Of a sweep the first value counts.
    """
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra

    search_path = create_config_search_path(str(conf))
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            return [Problem("--config-dir", "no such folder", config_dir)], None
        search_path.prepend("command-line", f"file://{Path(config_dir).absolute()}")
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2(task_name="benchmark", config_search_path=search_path)
    try:
        if (refused := refusal([])) is not None:
            return [_plainly(refused)], None
        problems, good, unknown = _sort_out(overrides, multirun)
        plain, choices = compose_plain(good)
    finally:
        GlobalHydra.instance().clear()
    if not problems:
        problems = [_plainly(error)]
    return problems, Composed(plain, choices | dict.fromkeys(unknown, ""), good)


def _sort_out(overrides: Sequence[str], multirun: bool) -> tuple[list[Problem], list[str], set[str]]:
    """Return the problems, the overrides that hold, and the groups whose option is unknown."""
    problems: list[Problem] = []
    good, unknown = list[str](), set[str]()
    for override in sorted(overrides, key=lambda one: key_of(one) not in GROUPS):
        key = key_of(override)
        if key.split(".")[0] in unknown and key not in GROUPS:
            continue
        held = ""
        for single in _singles(override) if multirun else [override]:
            error = refusal([*good, single])
            if error is None:
                held = held or single
                continue
            problems.append(_explain(single, error, good))
            if key in GROUPS:
                known = _known_part(single, error)
                held = held or (known if known and refusal([*good, known]) is None else "")
                unknown |= set() if known else {key}
        good += [held] if held else []
    return list(dict.fromkeys(problems)), good, unknown


def _singles(override: str) -> Iterator[str]:
    """Yield an override per value that it sweeps over."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ValueType
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return iter([override])
    if not parsed.is_sweep_override() or parsed.value_type == ValueType.GLOB_CHOICE_SWEEP:
        return iter([override])
    key = override.partition("=")[0]
    return (f"{key}={value}" for value in islice(parsed.sweep_string_iterator(), MOST_SWEPT))


def _known_part(override: str, error: Exception) -> str:
    """Return `metrics=[basic]` of `metrics=[basic,nonesuch]`, or "" where nothing is known."""
    key, _, value = override.partition("=")
    if not value.startswith("["):
        return ""
    known = [word for word in _words(value) if word in _options(key_of(override), error)]
    return f"{key}=[{','.join(known)}]" if known else ""


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.strip("[]").split(",") if word.strip()]


def _options(group: str, error: Exception) -> list[str]:
    from hydra.core.global_hydra import GlobalHydra

    named = getattr(error, "options", None)
    return list(named or GlobalHydra.instance().config_loader().get_group_options(group))


def compose_plain(overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the resolved plain config and the chosen options; Hydra must be initialised."""
    from hydra import compose
    from omegaconf import OmegaConf

    composed = compose("config", overrides=list(overrides), return_hydra_config=True)
    choices = dict(composed.hydra.runtime.choices)
    job = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    plain: dict[str, Any] = OmegaConf.to_container(job, resolve=True)  # type: ignore[assignment]
    return plain, choices


def refusal(overrides: Sequence[str]) -> Exception | None:
    """Return what Hydra says against the overrides, or None."""
    try:
        compose_plain(overrides)
    except Exception as error:
        if not is_mistake(error):
            raise
        return error
    return None


def _explain(override: str, error: Exception, good: Sequence[str]) -> Problem:
    from hydra.errors import MissingConfigException, OverrideParseException

    key, _, value = override.partition("=")
    plain_key = key_of(override)
    text = str(error)
    if isinstance(error, OverrideParseException):
        fix = f"""quote it for Hydra: '{key}="{value}"'"""
        return Problem(plain_key, f"can't be read: {_first_line(error)}", value, fix=fix)
    if "Ambiguous value" in text or "Sweep parameters" in text:
        fix = f"""add --multirun to sweep over them, or quote them as one value: '{key}="{value}"'"""
        return Problem(plain_key, "several values without --multirun", value, fix=fix)
    if plain_key in GROUPS and "group override must be" in text:
        return Problem(plain_key, "takes the name of an option", value, some(_options(plain_key, error), 30))
    if plain_key in GROUPS and isinstance(error, MissingConfigException):
        options = _options(plain_key, error)
        asked = [word for word in _words(value) if word not in options]
        if asked:
            return Problem(plain_key, "no such option", some(asked), some(options, 30), closest(asked[0], options))
    if "not in struct" in text or "Could not override" in text or "Could not delete" in text:
        config, _ = compose_plain(good)
        return _unknown_key(plain_key, value, config)
    if "Could not append" in text:
        return Problem(plain_key, "exists already", value, fix=f"leave the + away: {plain_key}={value}")
    return _plainly(error, plain_key, value)


def _unknown_key(key: str, value: str, config: Mapping[str, Any]) -> Problem:
    """Return the problem of a key that the config lacks, with the keys that it has at the first place that is unknown."""
    node: Any = config
    prefix = ""
    for part in key.split("."):
        if not isinstance(node, Mapping):
            return Problem(key, f"{prefix.rstrip('.')} is a value, with no settings in it", value)
        if part not in node:
            names = [str(name) for name in node]
            return Problem(key, "unknown option", value, some(names, 30), closest(part, names, prefix))
        node, prefix = node[part], f"{prefix}{part}."
    return Problem(key, "unknown option", value)


def _plainly(error: Exception, where: str = "config", given: str = "") -> Problem:
    """Return a problem for what Hydra, OmegaConf or YAML says, with the key or the file that it is about."""
    from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return Problem(f"{mark.name}, line {mark.line + 1}", f"is no YAML: {getattr(error, 'problem', '')}")
    if isinstance(error, InterpolationResolutionError):
        return Problem(error.full_key or where, f"refers to something that can't be found: {_first_line(error)}", given)
    key = error.full_key if isinstance(error, OmegaConfBaseException) and error.full_key else where
    return Problem(key, _first_line(error), given)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
