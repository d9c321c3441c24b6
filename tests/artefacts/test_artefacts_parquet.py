import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cof.artefacts.parquet import read_tables, write_table

COLUMNS = ["subject", "beat", "rr_ms"]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Three batches, of one, of no and of two subjects."""
    found = []
    for number, names in enumerate((["sub-0003"], [], ["sub-0001", "sub-0002"])):
        rows = [(name, np.arange(3.0) + number, 900.0) for name in names]
        write_table(tmp_path / f"b{number}.parquet", pd.DataFrame(rows, columns=COLUMNS), {})
        found.append(tmp_path / f"b{number}.parquet")
    return found


def test_tables_are_put_together_in_their_order_and_a_batch_of_nobody_warns_of_nothing(paths: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = read_tables(paths)
    assert together["subject"].tolist() == ["sub-0003", "sub-0001", "sub-0002"]
    assert together.index.tolist() == [0, 1, 2]
    assert together["rr_ms"].dtype == float
    np.testing.assert_array_equal(together["beat"][1], [2, 3, 4])
    assert list(read_tables(paths, ["subject"])) == ["subject"]


def test_batches_of_nobody_alone_have_the_columns(paths: list[Path]) -> None:
    together = read_tables(paths[1:2] * 2)
    assert together.empty
    assert list(together) == COLUMNS
