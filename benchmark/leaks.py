"""Secrets in a config: refused, since a run folder keeps its config for ever and is meant to be shared."""

from __future__ import annotations

import os
import re

import msgspec

from benchmark.config import Config
from benchmark.errors import Problem
from benchmark.reuse import flatten

KEYS = re.compile(r"(^|_)(password|passwd|secret|api_?key|access_key|(hf|auth|api|access)_token)$", re.IGNORECASE)
VARIABLES = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|CREDENTIALS?)$", re.IGNORECASE)
SHORTEST = 8
FIX = "leave it out, and let the component read the environment variable itself"


def secret_problems(config: Config) -> list[Problem]:
    """Return a problem for each value that is named like a secret, or is that of an environment variable named like one."""
    secrets = {value: name for name, value in os.environ.items() if VARIABLES.search(name) and len(value) >= SHORTEST}
    problems = []
    for group, settings in msgspec.to_builtins(config).items():
        for key, value in flatten(group, settings):
            texts = [str(item) for item in (value if isinstance(value, list) else [value]) if item not in (None, "")]
            variable = next((name for text in texts for secret, name in secrets.items() if secret in text), "")
            if variable:
                problems.append(
                    Problem(key, f"holds the value of ${variable}: secrets are never written down", fix=FIX)
                )
            elif texts and KEYS.search(key.rpartition(".")[2]):
                problems.append(Problem(key, "is named like a secret: those are never written down", fix=FIX))
    return problems
