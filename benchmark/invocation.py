"""What the user asked for, and what comes of it: the Invocation that planning starts from and the Plan it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.cases import CaseTable
from benchmark.config import Config, Frozen
from benchmark.store import Store

GROUPS = ("model", "dataset", "prompts", "metrics", "compute", "experiment")


class Composed(NamedTuple):
    """One run as Hydra composed it: the plain config, the option chosen in each group, the overrides by hand, the flags."""

    plain: dict[str, Any]
    choices: dict[str, Any]
    overrides: list[str]
    multirun: bool = False
    flags: Sequence[str] = ()


def key_of(override: str) -> str:
    """Return the config key that an override sets."""
    return override.lstrip("+~").split("=")[0].split("@")[0]


@dataclass
class Invocation:
    """What the user typed, resolved: the typed config, which options were chosen, and which keys were given by hand.

    `partial` says that some of what was typed is left out, being wrong: the rest can be checked, but no run can be chosen.
    """

    config: Config
    model_name: str
    dataset_name: str
    overrides: Sequence[str] = ()
    prompts_name: str = ""
    partial: bool = False
    flags: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.config.name or f"{self.model_name}-{self.dataset_name}"

    @property
    def choices(self) -> dict[str, str]:
        return {"model": self.model_name, "dataset": self.dataset_name, "prompts": self.prompts_name}

    def gave(self, key: str) -> bool:
        """Return whether the key, or settings that hold it, were given by hand (not just the option of its group)."""
        by_hand = {key_of(override) for override in self.overrides} - set(GROUPS)
        return any(key == given or key.startswith(f"{given}.") for given in by_hand)

    def touched(self, key: str) -> bool:
        """Return whether a setting below the key was given by hand."""
        return any(key_of(override).startswith(f"{key}.") for override in self.overrides)

    def chose(self, group: str) -> bool:
        """Return whether the group's option was chosen by hand."""
        return any(key_of(override) == group for override in self.overrides)


@dataclass
class Plan:
    """A run that can be frozen: the config its workers will read, its cases, and the folder it goes on with, if any.

    `needed_mb` is the disk space that what is pending will take, 0 where the model can't tell. `to_bring` are weights to
    download before it starts.
    """

    frozen: Frozen
    table: CaseTable
    output_root: Path
    store: Store | None
    why: str
    overrides: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    needed_mb: float = 0.0
    to_bring: Sequence[Any] = ()
    dry_run: bool = False
