import numpy as np
import pandas as pd
import pytest

from cof.artefacts.parquet import read_provenance, read_table, write_table


def test_arrays_text_and_provenance_come_back(tmp_path):
    table = pd.DataFrame({"subject": ["a", "b"], "beat": [np.arange(3, dtype=np.float32), np.zeros(2, np.float32)]})
    write_table(tmp_path / "deep" / "t.parquet", table, {"config_hash": "abc"})
    back = read_table(tmp_path / "deep" / "t.parquet")
    assert list(back["subject"]) == ["a", "b"]
    assert back["beat"][0].dtype == np.float32
    np.testing.assert_array_equal(back["beat"][0], [0, 1, 2])
    assert read_provenance(tmp_path / "deep" / "t.parquet") == {"config_hash": "abc"}


def test_same_table_same_bytes_and_no_leftovers(tmp_path):
    table = pd.DataFrame({"a": [1, 2]})
    for name in ("x", "y"):
        write_table(tmp_path / name, table, {"b": 1, "a": 2})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_table(tmp_path / "t", pd.DataFrame({"a": [1]}), {})
    with pytest.raises(Exception, match="object"):
        write_table(tmp_path / "t", pd.DataFrame({"a": [object()]}), {})
    assert list(read_table(tmp_path / "t")["a"]) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
