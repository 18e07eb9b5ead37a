"""Parquet as a stream of rows: a few megabytes in memory, however long the file and however large its cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.dataset.reading.tables import Choose, Row
from benchmark.errors import Problem, UserError, blame

BATCH_BYTES = 16 << 20
MOST_ROWS = 1024
BUFFER_BYTES = 1 << 20


def read_parquet(path: Path, choose: Choose) -> Iterator[Row]:
    """Yield the rows, numbered from 1. Raises: UserError if pyarrow is missing, or the file is damaged."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        fix = "pip install 'genbench[parquet]'"
        raise UserError(Problem(path.name, "needs pyarrow, which is not installed", fix=fix)) from error
    number = 0
    try:
        with ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
            columns = [name for name in choose(file.schema_arrow.names) if not name.startswith("__index_level_")]
            for batch in file.iter_batches(_batch_rows(file.metadata), columns=columns, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
    except (ArrowException, OSError) as error:
        wrong = f"is no whole Parquet file: {blame(error).partition(' (/')[0]}"
        at = f" row {number + 1}" if number else ""
        raise UserError(Problem(f"{path.name}{at}", wrong, str(path), fix="fetch or write it again")) from error


def _batch_rows(metadata: Any) -> int:
    """Return how many rows are to be held at once."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    row_bytes = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(MOST_ROWS, int(BATCH_BYTES / max(1.0, row_bytes))))
