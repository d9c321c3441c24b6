"""Parquet tables, which hold their provenance and appear only when they are complete."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cof.artefacts.folders import whole_file

_PROVENANCE = b"cof"


def write_table(path: Path, table: pd.DataFrame, provenance: dict[str, Any]) -> None:
    """Write `table` as parquet with `provenance` (of `cof.artefacts.provenance.stamp`) as JSON in its schema metadata.

    Cells that are numpy arrays or lists become parquet lists. The same table gives the same bytes.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = (arrow.schema.metadata or {}) | {_PROVENANCE: json.dumps(provenance, sort_keys=True).encode()}
    with whole_file(path) as aside:
        pq.write_table(arrow.replace_schema_metadata(metadata), aside)


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table that `write_table` wrote, or only the named columns; lists are returned as numpy arrays."""
    return pq.read_table(path, columns=columns).to_pandas()


def read_tables(paths: Iterable[Path], columns: list[str] | None = None) -> pd.DataFrame:
    """Read the rows of several tables with the same columns, such as those of all batches."""
    tables = [read_table(path, columns) for path in paths]
    # Columns of a table without rows have no type, and pandas would warn that it ignores them.
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read the provenance of a table without its rows; empty for a table that holds none."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(_PROVENANCE, b"{}"))
