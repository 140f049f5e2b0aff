"""Conversations as Parquet files that ``datasets.load_dataset`` reads with typed columns."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 20_000  # per file; a multiple of _BATCH, because a file is closed between batches
_BATCH = 500  # rows kept in memory before they are written
_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_EVIDENCE = pa.struct(
    [
        *(pa.field(n, _TEXT) for n in ("clip", "region", "direction")),
        *(pa.field(n, pa.float64()) for n in ("magnitude", "z")),
        pa.field("aus", _TEXTS),
        *(pa.field(n, _TEXT) for n in ("phase", "source")),
    ]
)
_FIELDS: dict[str, pa.DataType] = {
    **{"id": _TEXT, "clip": _TEXT, "clips": _TEXTS, "subject": _TEXT, "subjects": _TEXTS},
    **{"dataset": _TEXT, "mirrored": pa.bool_(), "agreement": _TEXT, "score": pa.float64()},
    "kinds": _TEXTS,
    "stated": pa.list_(pa.list_(pa.int64())),
    "evidence": pa.list_(_EVIDENCE),
    "messages": pa.list_(pa.struct([pa.field("role", _TEXT), pa.field("content", _TEXT)])),
}
SCHEMA = pa.schema(list(_FIELDS.items()))


class TableWriter:
    """Writes ``<folder>/train-00000.parquet`` and so on; the folder appears when complete."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.partial = folder, folder.with_name(folder.name + ".partial")
        self.rows: list[dict[str, Any]] = []
        self.written = 0
        self.file: pq.ParquetWriter | None = None

    def __enter__(self) -> TableWriter:
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
        if self.file is not None:
            self.file.close()
        if kind is None:
            # A folder cannot be renamed over an existing one that is not empty.
            shutil.rmtree(self.folder, ignore_errors=True)
            self.partial.rename(self.folder)

    def write(self, row: dict[str, Any]) -> None:
        """Add one row with the fields of ``SCHEMA``."""
        self.rows.append(row)
        if len(self.rows) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        # With no row at all, still write one file with the schema, so that the folder can be
        # loaded.
        if not self.rows and self.file is not None:
            return
        if self.written % ROWS == 0:
            if self.file is not None:
                self.file.close()
            name = f"train-{self.written // ROWS:05d}.parquet"
            self.file = pq.ParquetWriter(self.partial / name, SCHEMA, compression="zstd")
        assert self.file is not None
        # The explicit schema matters: types inferred from empty lists would differ between batches.
        self.file.write_table(pa.Table.from_pylist(self.rows, SCHEMA))
        self.written += len(self.rows)
        self.rows = []
