"""Where weights lie, what is wrong with them, and how they come: from a server on this machine that stands for others."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmark.weights import Weights, applied, clip_cache, download, environment, hub_cache, torch_cache

DATA = b"weights " * 5000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Files(BaseHTTPRequestHandler):
    """Serves the weights whole, broken off, or not at all."""

    def do_GET(self) -> None:
        if self.path == "/gone.pth":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA[: 100 if self.path == "/broken.pth" else None])

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_a_file_arrives_whole_or_not_at_all(tmp_path: Path, server: str) -> None:
    path = tmp_path / "new" / "x.pth"
    download(f"{server}/x.pth", path, SHA256)
    assert path.read_bytes() == DATA
    for name, checksum, said in (
        ("broken", "", "IncompleteRead|broke off"),
        ("gone", "", "404"),
        ("y", "0" * 64, SHA256),
    ):
        with pytest.raises(Exception, match=said):
            download(f"{server}/{name}.pth", tmp_path / name, checksum)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "x.pth"]


def test_what_is_wrong_with_a_file_is_told_and_cured(tmp_path: Path, server: str) -> None:
    weights = Weights("w", tmp_path / "x.pth", url=f"{server}/x.pth", sha256=SHA256)
    assert weights.wrong() == "is missing"
    weights.path.write_bytes(DATA[:-1])
    assert "SHA256 checksum does not match" in weights.wrong()
    weights.fetch()
    assert weights.wrong() == ""


def test_a_snapshot_of_a_repository_is_looked_for_in_the_hub_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    weights = Weights("w", tmp_path / "x", repository="lab/tiny", files=("config.json", "*.safetensors"))
    assert weights.wrong() == "is missing"
    snapshot = tmp_path / "models--lab--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    (tmp_path / "models--lab--tiny" / "refs").mkdir()
    (tmp_path / "models--lab--tiny" / "refs" / "main").write_text("abc")
    assert weights.wrong() == "lacks *.safetensors"
    (snapshot / "model-00001.safetensors").touch()
    assert weights.wrong() == ""


def test_one_folder_holds_all_caches_if_the_user_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    with applied(environment(str(tmp_path), offline=True)):
        assert all(path.is_relative_to(tmp_path) for path in (hub_cache(), torch_cache(), clip_cache()))
        assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"
        assert os.environ["HF_ENDPOINT"] == "https://hub.example"
    assert clip_cache() == Path("~/.cache/clip").expanduser() and "HF_HOME" not in os.environ
    assert environment(None, offline=False)["HF_HUB_OFFLINE"] == "0"


def test_of_several_formats_the_first_that_is_there_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    weights = Weights("w", tmp_path / "x", repository="lab/old", files=("*/model.safetensors|*/model.bin",))
    snapshot = tmp_path / "models--lab--old" / "snapshots" / "main"
    (snapshot / "unet").mkdir(parents=True)
    assert weights.wrong() == "lacks */model.safetensors|*/model.bin"
    (snapshot / "unet" / "model.bin").touch()
    assert weights.wrong() == ""
