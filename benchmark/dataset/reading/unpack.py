"""Pictures and clips that a table holds as bytes or base64: written once into a cache, named by their content."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from pathlib import Path

SHORTEST = 64  # characters; base64 of a picture or clip is longer, most paths with only its characters are shorter
DATA_URL = re.compile(r"data:[\w.+/-]*((?:;[^;,]*)*),", re.ASCII)
MAGIC = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\x1a\x45\xdf\xa3", ".webm"),
)
RIFF = {b"WEBP": ".webp", b"AVI ": ".avi"}
BRANDS = {b"qt  ": ".mov", b"avif": ".avif", b"avis": ".avif", b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic"}
KNOWN = "PNG, JPEG, GIF, WebP, AVIF, HEIC, TIFF, BMP, MP4, MOV, WebM, AVI"


def cache_folder() -> Path:
    """Return where unpacked files lie unless the user says otherwise: $GENBENCH_CACHE, else in the user's cache folder."""
    if own := os.environ.get("GENBENCH_CACHE"):
        return Path(own).expanduser() / "unpacked"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "genbench" / "unpacked"


def suffix_of(head: bytes) -> str:
    """Return the suffix of a picture or clip by its first bytes (16 or more), "" for anything else."""
    for magic, suffix in MAGIC:
        if head.startswith(magic):
            return suffix
    if head[:4] == b"RIFF":
        return RIFF.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], ".mp4")
    if head[:2] == b"BM" and head[6:10] == bytes(4):  # its reserved fields
        return ".bmp"
    return ""


def decoded(text: str) -> bytes | None:
    """Return what a data URL or the base64 of a picture or clip holds; None for any other text.

    Raises: ValueError if it is one of these, but broken.
    """
    if text.startswith("data:"):
        found = DATA_URL.match(text)
        if not found or ";base64" not in found[1]:
            raise ValueError("is a data URL without base64")
        return _decode(text[found.end() :])
    return _decode(text) if opens_like_media(text) else None


def opens_like_media(text: str) -> bool:
    """Return whether a text begins like the base64 of a picture or clip."""
    if len(text) < SHORTEST:
        return False
    try:
        return bool(suffix_of(base64.b64decode(text[:SHORTEST], validate=True)))
    except ValueError:
        return False


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is broken base64: {str(error).rstrip('.').lower()}") from error


def unpack(data: bytes, folder: Path) -> Path:
    """Return the file in the cache `folder` that holds `data`, written unless it is there.

    Raises: ValueError if the data are no picture or clip; OSError if the file can't be written.
    """
    suffix = suffix_of(data[:16])
    if not suffix:
        raise ValueError("are bytes of no picture or clip" if data else "is empty")
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest[:2] / f"{digest}{suffix}"
    if path.is_file() and path.stat().st_size == len(data):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
