"""The files of a language model as transformers reads them: a folder of its own, of its tokenizer, of a PEFT adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmark.media import file_digest
from benchmark.model.checkpoints import FORMATS, Checkpoint, content_digest, damaged

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
SETTINGS = (CONFIG, "generation_config.json", "*.py")
WHOLE = tuple(f"{stem}{form}" for form in FORMATS for stem in ("model", "pytorch_model"))
INDICES = tuple(f"{stem}{form}.index.json" for form in FORMATS for stem in ("model", "pytorch_model"))
ADAPTER = (ADAPTER_CONFIG, *(f"adapter_model{form}" for form in FORMATS))
TOKENIZER = (
    "tokenizer*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "tekken.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template*",
)  # fmt: skip
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
ON_THE_HUB = (
    "*.j*",
    "tokenizer*",
    "*.safetensors|*.bin",
)  # settings and chat templates (.json, .jinja), tokenizer, weights


def settings_of(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """Return the settings in a JSON file of a folder. Raises: ValueError if it is missing or holds none."""
    try:
        found = json.loads((folder / name).read_text())
    except FileNotFoundError:
        raise ValueError(f"has no {name}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"has a {name} that can't be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"has a {name} that holds no settings")
    return found


def read(folder: Path) -> Checkpoint:
    """Return the files that a load of the model reads, and those that lack. Raises: ValueError if it is no model."""
    settings_of(folder)
    checkpoint = Checkpoint(folder, files=held(folder, SETTINGS))
    for whole, index in zip(WHOLE, INDICES, strict=True):
        if (folder / whole).is_file():
            checkpoint.files.append(whole)
            return checkpoint
        if (folder / index).is_file():
            shards = sorted(set(settings_of(folder, index).get("weight_map", {}).values()))
            checkpoint.files += [index, *(shard for shard in shards if (folder / shard).is_file())]
            checkpoint.lacking += [shard for shard in shards if not (folder / shard).is_file()]
            return checkpoint
    checkpoint.lacking.append("model.safetensors (or its shards, or pytorch_model.bin)")
    return checkpoint


def held(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    """Return the names of the files of a folder that fit one of the patterns, sorted."""
    names = (path.name for path in folder.iterdir() if path.is_file())
    return sorted(name for name in names if any(fnmatch(name, pattern) for pattern in patterns))


def wrong_with_model(folder: Path) -> Iterator[str]:
    """Yield what is wrong with a model's folder: no settings, missing shards, weights that were cut short."""
    try:
        checkpoint = read(folder)
    except ValueError as error:
        yield str(error)
        return
    if checkpoint.lacking:
        yield f"lacks {', '.join(checkpoint.lacking)}"
    yield from (f"holds {name}, which {why}" for name, why in damaged(checkpoint))


def wrong_with_adapter(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the folder of a PEFT adapter."""
    files = held(folder, ADAPTER)
    if ADAPTER_CONFIG not in files:
        yield f"has no {ADAPTER_CONFIG}, so it is no adapter of PEFT"
    elif len(files) == 1:
        yield "lacks adapter_model.safetensors (or adapter_model.bin)"
    yield from (f"holds {name}, which {why}" for name, why in damaged(Checkpoint(folder, files=files)))


def chat_template_in(folder: Path) -> bool:
    """Return whether a tokenizer's folder has a chat template, in any of the places where transformers looks."""
    if held(folder, ("chat_template*",)) or (folder / "additional_chat_templates").is_dir():
        return True
    try:
        return bool(settings_of(folder, "tokenizer_config.json").get("chat_template"))
    except ValueError:
        return False


def positions_of(config: dict[str, Any]) -> int | None:
    """Return how many tokens a model can see, as its config.json says under one of the names in use."""
    for settings in (config, config.get("text_config") or {}):
        for name in POSITIONS:
            if isinstance(settings.get(name), int):
                return settings[name]
    return None


def model_digest(folder: Path) -> str:
    """Return a digest of a model's settings and, sampled, of its weights: the same wherever they lie."""
    return content_digest(read(folder))


def whole_digest(folder: Path, patterns: tuple[str, ...]) -> str:
    """Return a digest of all bytes of the files that fit the patterns."""
    pairs = [f"{name} {file_digest(folder / name)}" for name in held(folder, patterns)]
    return sha256("\n".join(pairs).encode()).hexdigest()


def files_on_the_hub(folder: Path) -> tuple[str, ...]:
    """Return the files that a repository's snapshot must have: all shards that its index names; patterns if it has none."""
    try:
        checkpoint = read(folder)
    except ValueError:
        return ON_THE_HUB
    weights = [name for name in (*checkpoint.files, *checkpoint.lacking) if " " not in name]
    has_weights = len(weights) > len(held(folder, SETTINGS))
    return (*weights, "tokenizer*") if has_weights else ON_THE_HUB
