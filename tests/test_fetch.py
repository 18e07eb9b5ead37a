"""Missing weights: refused when a run is planned, and brought by `benchmark fetch` from a hub and a server of this machine.

The hub is a small stand-in for huggingface.co that answers what huggingface_hub asks; there is no real one in reach.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b'{"tiny": 1}', "model.safetensors": b"weights" * 1000, "README.md": b"not needed"}
HEAVY = '''
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from benchmark.metrics import Measure
from benchmark.weights import Weights, snapshot_of, torch_cache, hub_cache


@dataclass
class Heavy:
    """A measure that reads a file and a repository."""
    url: str = ""
    sha256: str = ""
    batch_size: int = 1
    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple] = ("text",)
    measures: ClassVar[tuple] = (Measure("size", "neither"),)

    def weights(self):
        yield Weights("the head", torch_cache() / "lab" / "head.pth", 0.5, url=self.url, sha256=self.sha256)
        yield Weights("the tiny net", hub_cache() / "models--lab--tiny", repository="lab/tiny",
                      files=("config.json", "*.safetensors"))

    def load(self, device):
        assert os.environ["HF_HUB_OFFLINE"] in "01"
        print("offline", os.environ["HF_HUB_OFFLINE"], "home", os.environ["HF_HOME"])
        self.size = sum(len(f.read_bytes()) for f in snapshot_of("lab/tiny").glob("*"))
        self.size += len((torch_cache() / "lab" / "head.pth").read_bytes())

    def score(self, items):
        return [{"size": self.size} for _ in items]
'''


class Hub(BaseHTTPRequestHandler):
    """Answers for one repository, lab/tiny, and one file, head.pth."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        headers = {}
        if path.startswith("/api/models/lab/tiny"):
            tree = [{"type": "file", "path": n, "oid": "0", "size": len(d)} for n, d in FILES.items()]
            siblings = [{"rfilename": name} for name in FILES]
            data = json.dumps(tree if "/tree/" in path else {"id": "lab/tiny", "sha": COMMIT, "siblings": siblings})
            content, headers["Content-Type"] = data.encode(), "application/json"
        elif path == "/head.pth":
            content = b"head"
        elif (name := path.rpartition("/")[2]) in FILES:
            content = FILES[name]
            headers |= {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.fixture
def heavy(lab: Any, hub: str) -> Any:
    (lab.folder / "lab" / "heavy.py").write_text(HEAVY)
    checksum = hashlib.sha256(b"head").hexdigest()
    option = f"# @package metrics.heavy\n_target_: lab.heavy.Heavy\nurl: {hub}/head.pth\nsha256: {checksum}\n"
    lab.option("metrics/heavy", option)
    lab.options = (*lab.options[:-1], "metrics=[heavy]", "cache_dir=caches", "limit=2")
    return lab


def command(lab: Any, hub: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own: huggingface_hub reads its variables when it is imported."""
    variables = {**os.environ, "HF_ENDPOINT": hub, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1"}
    line = [sys.executable, "-m", "benchmark", *words]
    return subprocess.run(line, cwd=lab.folder, env=variables, capture_output=True, text=True, check=False)


def test_missing_weights_are_refused_with_place_size_and_cure(heavy: Any) -> None:
    said = heavy.refuse()
    assert said.problems() == 2
    place = heavy.folder / "caches"
    assert f"the head: head.pth is missing; 0.5 MB, belongs in {place / 'torch/hub/lab'}" in said.err
    assert f"the tiny net: lab/tiny is missing; size unknown, belongs in {place / 'huggingface/hub'}" in said.err
    cure = "python -m benchmark fetch --config-dir conf 'plugins=[lab]' model=echo dataset=rows 'metrics=[heavy]'"
    assert cure in said.err and "offline=false" in said.err
    assert heavy.refuse("mode=eval").problems() == 1  # there is no run yet
    assert heavy("mode=infer", "dry_run=true").code == 0  # which loads no metric


def test_fetch_brings_all_and_a_run_then_goes_offline(heavy: Any, hub: str) -> None:
    listed = command(heavy, hub, "fetch", *heavy.options, "dry_run=true")
    assert listed.returncode == 0 and "head.pth is missing" in listed.stdout
    assert not (heavy.folder / "caches").exists()
    fetched = command(heavy, hub, "fetch", *heavy.options)
    assert fetched.returncode == 0, fetched.stderr
    names = sorted(path.name for path in (heavy.folder / "caches").rglob("*") if path.is_symlink())
    assert names == ["config.json", "model.safetensors"]
    assert "all weights that these runs load are there" in command(heavy, hub, "fetch", *heavy.options).stdout
    ran = command(heavy, "http://127.0.0.1:9", *heavy.options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    log = (heavy.folder / "outputs/echo-rows/latest/logs/eval/w0.log").read_text()
    assert f"offline 1 home {heavy.folder / 'caches' / 'huggingface'}" in log


def test_a_run_that_may_use_the_network_brings_them_before_it_starts(heavy: Any, hub: str) -> None:
    ran = command(heavy, hub, *heavy.options, "offline=false")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "[1/2] the head: head.pth" in ran.stdout
    assert "offline 0" in (heavy.folder / "outputs/echo-rows/latest/logs/eval/w0.log").read_text()


def test_a_damaged_file_is_named_and_replaced(heavy: Any, hub: str) -> None:
    assert command(heavy, hub, "fetch", *heavy.options).returncode == 0
    path = heavy.folder / "caches/torch/hub/lab/head.pth"
    path.write_bytes(b"hea")
    said = heavy.refuse()
    assert said.problems() == 1 and "head.pth is damaged (its SHA256 checksum does not match)" in said.err
    assert command(heavy, hub, "fetch", *heavy.options).returncode == 0
    assert path.read_bytes() == b"head"


def test_what_can_not_be_had_is_told_and_the_rest_comes(heavy: Any, hub: str) -> None:
    before = heavy.tree()
    said = command(heavy, hub, "fetch", *heavy.options, f"metrics.heavy.url={hub}/none.pth")
    assert said.returncode == 2 and "head.pth can't be downloaded: HTTP Error 404" in said.stderr
    assert (heavy.folder / "caches/huggingface/hub/models--lab--tiny").is_dir()
    refused = command(heavy, "http://127.0.0.1:9", *heavy.options, "offline=false", "cache_dir=others")
    assert refused.returncode == 2 and "lab/tiny can't be downloaded" in refused.stderr
    assert not (heavy.folder / "outputs").exists() and before.keys() <= heavy.tree().keys()


def test_mistakes_on_the_command_line_of_fetch_are_told(heavy: Any) -> None:
    said = heavy.bare("fetch", *heavy.options, "metrics.heavy.urll=x")
    assert said.code == 2 and "metrics.heavy.urll" in said.err
    assert "fetch" in heavy.bare("fetchh").err
