"""Tables are read as streams: ten times the rows take no more memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from benchmark.dataset.manifest import Manifest
from benchmark.dataset.prompt_file import PromptFile

SHORT, LONG = 4_000, 40_000
PROMPT = "a photograph of thing number {} on a wooden table, in the light of the evening"


def write(path: Path, rows: int) -> Path:
    if path.suffix == ".parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = {"id": [f"c{i}" for i in range(rows)], "prompt": [PROMPT.format(i) for i in range(rows)]}
        pq.write_table(pa.table(columns), path, row_group_size=rows)
        return path
    with path.open("w") as file:
        file.write("id,prompt\n" if path.suffix == ".csv" else "")
        for i in range(rows):
            prompt = PROMPT.format(i)
            line = {".txt": prompt, ".csv": f'c{i},"{prompt}"', ".jsonl": json.dumps({"id": f"c{i}", "prompt": prompt})}
            file.write(line[path.suffix] + "\n")
    return path


def peak_bytes(dataset: Any, rows: int) -> int:
    tracemalloc.start()
    try:
        assert sum(1 for _ in dataset.cases()) == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["p.txt", "m.jsonl", "m.csv", "m.parquet"])
def test_memory_is_flat(tmp_path: Path, name: str) -> None:
    kind = PromptFile if name == "p.txt" else Manifest
    peaks = [peak_bytes(kind(write(tmp_path / name, rows)), rows) for rows in (SHORT, SHORT, LONG)][1:]
    assert peaks[1] - peaks[0] < 40 * (LONG - SHORT), "24 bytes an id, and half as much again while the table grows"
    assert peaks[1] < 4e6


def test_arrow_holds_a_batch_at_a_time(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows, picture = 400, b"\x89PNG\r\n\x1a\n" + bytes(250_000)
    with pq.ParquetWriter(tmp_path / "m.parquet", pa.schema({"image": pa.binary()}), compression="none") as writer:
        for _ in range(4):
            pictures = [picture + i.to_bytes(4, "big") for i in range(rows // 4)]
            writer.write_table(pa.table({"image": pictures}))
    held = 0
    before = pa.total_allocated_bytes()
    for case in Manifest(tmp_path / "m.parquet", unpack_dir=tmp_path / "cache").cases():
        held = max(held, pa.total_allocated_bytes() - before)
        Path(case.inputs["image"]).unlink()
    assert held < 60e6, "100 MB of pictures, 16 MB at a time"


def test_bad_rows_hold_no_memory_beyond_the_list(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"prompt": "x"}\n' + "?\n" * LONG)
    dataset = Manifest(tmp_path / "m.jsonl", skip_bad=True)
    assert peak_bytes(dataset, 1) < 4e6 and dataset.excluded.count == LONG
