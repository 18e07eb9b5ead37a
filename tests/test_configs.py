"""Every option of every group composes and builds, and opens with a command that shows its use."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

CONF = Path(__file__).resolve().parents[1] / "conf"
GROUPS = ("model", "dataset", "prompts", "metrics", "compute", "experiment", "notify")
OPTIONS = [
    (group, str(path.relative_to(CONF / group).with_suffix("")))
    for group in GROUPS
    for path in sorted((CONF / group).rglob("*.yaml"))
]


def compose(*overrides: str) -> dict[str, Any]:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("genbench_scratch", lambda: ".", replace=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(hydra_compose("config", overrides=list(overrides)), resolve=True)
    assert isinstance(plain, dict)
    return plain  # type: ignore[return-value]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_an_option_composes_and_builds(group: str, option: str) -> None:
    from benchmark.components import build_all
    from benchmark.config import typed

    config, problems = typed(compose(f"{group}=[{option}]" if group == "metrics" else f"{group}={option}"))
    assert config is not None, problems
    parts, problems = build_all(config)
    named = {"model": parts.model, "dataset": parts.dataset, "prompts": parts.prompts}
    named |= {"metrics": next(iter(parts.metrics.values()), None)}
    built_somewhere = {  # a missing extra, checkpoint, file or device is no fault of the option
        problem.where
        for problem in problems
        if any(w in problem.wrong for w in ("unknown option", "is no ", "wrong value"))
    }
    assert not built_somewhere, problems
    if group in named and named[group] is None:
        assert problems, "neither built nor refused"


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_an_option_opens_with_its_purpose_and_a_command_that_is_right(group: str, option: str) -> None:
    from benchmark.quoting import quote_overrides

    text = (CONF / group / f"{option}.yaml").read_text()
    comments = [line for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    assert comments and len(comments[0]) > 20
    commands = [line.split("python -m benchmark", 1)[1] for line in comments if "python -m benchmark" in line]
    commands = [line for line in commands if not re.search(r"<|\.\.\.|--config-dir|/path|plugins=", line)]
    for command in commands:
        words = [word for word in shlex.split(command.split(" # ")[0]) if "=" in word or word.startswith("~")]
        if not {"-m", "--multirun"} & set(command.split()):
            compose(*quote_overrides(words, multirun=False))


def test_every_line_of_the_main_config_says_what_it_is_for() -> None:
    lines = (CONF / "config.yaml").read_text().splitlines()
    keys = [line for line in lines if re.match(r"  - \w+:|  \w+:|\w+: ?[^ ]", line) and "hydra" not in line]
    unexplained = [line for line in keys if "#" not in line and not line.endswith("{}") and "_self_" not in line]
    within_hydra = lines[next(i for i, line in enumerate(lines) if line.startswith("hydra:")) :]
    assert [line for line in unexplained if line not in within_hydra] == []


def test_spec_keys_are_arguments_of_their_class() -> None:
    import inspect

    for group in ("model", "dataset", "prompts", "metrics"):
        for _, option in [pair for pair in OPTIONS if pair[0] == group]:
            plain = compose(f"{group}=[{option}]" if group == "metrics" else f"{group}={option}")[group]
            spec = next(iter(plain.values())) if group == "metrics" else plain
            module, _, name = spec["_target_"].rpartition(".")
            signature = inspect.signature(getattr(import_module(module), name))
            if any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
                continue
            unknown = set(spec) - set(signature.parameters) - {"_target_", "categories", "ids"}
            assert not unknown, (group, option)
