"""What is wrong with the settings of a run taken together, beyond the type of each."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import Problem, closest, some
from benchmark.invocation import Invocation
from benchmark.names import unsafe

REDO_WORDS = ("failed", "infer", "predictions")


def setting_problems(invocation: Invocation) -> list[Problem]:
    """Return a problem for each setting that can't be, given the others."""
    config, problems = invocation.config, []
    names = {"name": invocation.name, "model": invocation.model_name}
    for where, name in names.items():
        if (why := unsafe(name)) and not (invocation.partial and not name.strip("-")):
            problems.append(Problem(where, f"can't name a folder: {why}", name, fix="use letters, digits, - and _"))
    if config.cache_dir is not None and (cache := Path(config.cache_dir).expanduser()).exists() and not cache.is_dir():
        problems.append(Problem("cache_dir", "is no folder", config.cache_dir, fix="name a folder, new or old"))
    words = [*REDO_WORDS, *config.metrics]
    for word in config.redo:
        if word not in words:
            problems.append(Problem("redo", "names nothing to redo", word, some(words), closest(word, words)))
    if config.redo and config.reuse is None:
        problems.append(Problem("redo", "reuse=null starts afresh, so there is nothing to redo", fix="leave one away"))
    if config.mode == "all" and not config.metrics:
        problems.append(Problem("metrics", "none is chosen, so there is nothing to score", "[]", fix="add mode=infer"))
    return problems
