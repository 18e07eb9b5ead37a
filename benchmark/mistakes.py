"""Finding every mistake on the command line when Hydra refuses it: Hydra itself stops at the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import Problem, closest, some

GROUPS = ("model", "dataset", "prompts", "metrics", "compute", "experiment")


def find_mistakes(
    conf: Path, overrides: Sequence[str], searchpath: Sequence[str]
) -> tuple[list[Problem], dict[str, Any] | None, dict[str, Any], list[str]]:
    """Return a problem per override that Hydra refuses, and what the others compose to.

    That is: the problems, the plain config (None if even the defaults fail), the chosen options, and the overrides that
    hold. An override of a group whose option is unknown is left out, since nothing can be said of it.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    problems: list[Problem] = []
    unknown_groups: set[str] = set()
    good: list[str] = [f"hydra.searchpath=[{','.join(searchpath)}]"] if searchpath else []
    own = len(good)
    ordered = sorted(overrides, key=lambda override: override.lstrip("+~").split("=")[0] not in GROUPS)
    with initialize_config_dir(config_dir=str(conf), version_base="1.3", job_name="benchmark"):
        for override in ordered:
            key = override.lstrip("+~").split("=")[0]
            if key.split(".")[0] in unknown_groups and key not in GROUPS:
                continue
            error = _refused([*good, override])
            if error is None:
                good.append(override)
                continue
            problems.append(_explain(override, error, good))
            unknown_groups.add(key)
        error = _refused(good)
        if error is not None:
            return [*problems, Problem("config", _first_line(error))], None, {}, []
        plain, choices = compose_plain(good)
    return problems, plain, choices, good[own:]


def compose_plain(overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the resolved plain config and the chosen options; Hydra must be initialised."""
    from hydra import compose
    from omegaconf import OmegaConf

    composed = compose("config", overrides=list(overrides), return_hydra_config=True)
    choices = dict(composed.hydra.runtime.choices)
    plain: dict[str, Any] = {
        str(key): OmegaConf.to_container(composed[key], resolve=True)
        if OmegaConf.is_config(composed[key])
        else composed[key]
        for key in composed
        if key != "hydra"
    }
    return plain, choices


def _refused(overrides: Sequence[str]) -> Exception | None:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        compose_plain(overrides)
    except (HydraException, OmegaConfBaseException) as error:
        return error
    return None


def _explain(override: str, error: Exception, good: Sequence[str]) -> Problem:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import MissingConfigException, OverrideParseException

    key, _, value = override.partition("=")
    plain_key = key.lstrip("+~").split("@")[0]
    if isinstance(error, OverrideParseException):
        fix = f"""quote it for Hydra: '{key}="{value}"'"""
        return Problem(key, f"can't be read: {_first_line(error)}", value, fix=fix)
    if plain_key in GROUPS and isinstance(error, MissingConfigException):
        options = GlobalHydra.instance().config_loader().get_group_options(plain_key)
        asked = [word for word in value.strip("[]").split(",") if word not in options]
        fix = closest(asked[0], options) if asked else ""
        return Problem(plain_key, "no such option", some(asked) or value, some(options), fix)
    text = str(error)
    if "Ambiguous value" in text or "sweep" in text.lower():
        fix = f"""add --multirun to sweep over it, or quote it as one value: '{key}="{value}"'"""
        return Problem(plain_key, "several values, but this is no sweep", value, fix=fix)
    if "not in struct" in text or "Could not override" in text:
        config, _ = compose_plain(good)
        siblings = _siblings(config, plain_key)
        leaf, parent = plain_key.rpartition(".")[2], plain_key.rpartition(".")[0]
        match = closest(leaf, siblings)
        if match and parent:
            match = match.replace("`", f"`{parent}.", 1)
        return Problem(plain_key, "unknown option", value, some(siblings, 30), match)
    return Problem(plain_key, _first_line(error), value)


def _siblings(config: Any, key: str) -> list[str]:
    *parents, _ = key.split(".")
    for parent in parents:
        config = config.get(parent) if isinstance(config, dict) else None
    return [str(name) for name in config] if isinstance(config, dict) else []


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
