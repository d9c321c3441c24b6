import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cof.artefacts.exclusions import Exclusions
from cof.errors import CofError, Reason, redact

PARTICIPANT = "12" + "34567"  # shaped like a participant id, so never written out


def test_participant_ids_are_blanked_out() -> None:
    assert redact(f"no file {PARTICIPANT}_20205_2_0.xml") == "no file <id>_20205_2_0.xml"
    assert redact("sub-0001 at 20205, 1.5 mm, 50000000") == "sub-0001 at 20205, 1.5 mm, 50000000"


def test_one_bad_subject_never_stops_the_batch(tmp_path: Path) -> None:
    exclusions = Exclusions("cine")
    done = []
    for subject in ("sub-0001-v2", "sub-0002-v2", "sub-0003-v2", "sub-0004-v2"):
        with exclusions.guard(subject):
            if subject.startswith("sub-0002"):
                raise CofError(Reason.CINE_UNREADABLE, f"truncated archive of {PARTICIPANT}")
            if subject.startswith("sub-0003"):
                raise ZeroDivisionError("division by zero")
            done.append(subject)
    assert done == ["sub-0001-v2", "sub-0004-v2"]
    exclusions.write(tmp_path / "exclusions.parquet")
    table = pd.read_parquet(tmp_path / "exclusions.parquet")
    assert list(table["reason"]) == ["cine_unreadable", "unexpected"]
    assert PARTICIPANT not in " ".join(table["message"])


def test_a_clean_batch_gives_a_table_without_rows(tmp_path: Path) -> None:
    Exclusions("ecg").write(tmp_path / "new/exclusions.parquet")
    table = pd.read_parquet(tmp_path / "new/exclusions.parquet")
    assert list(table.columns) == ["subject", "stage", "reason", "message"]
    assert table.empty


def test_an_interrupt_is_not_an_exclusion() -> None:
    with pytest.raises(KeyboardInterrupt), Exclusions("ecg").guard("sub-0001-v2"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "error",
    [np.linalg.LinAlgError("singular"), UnicodeDecodeError("utf-8", b"", 0, 1, ""), IndexError(), OverflowError()],
)
def test_an_error_of_the_data_is_an_exclusion(error: Exception) -> None:
    exclusions = Exclusions("grid")
    with exclusions.guard("sub-0001-v2"):
        raise error
    assert [row["reason"] for row in exclusions.rows] == ["unexpected"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        AttributeError("'NoneType' object has no attribute 'shape'"),
        TypeError(),
        KeyError("LV"),
        AssertionError(),
        ImportError(),
    ],
    ids=lambda error: type(error).__name__ + str(getattr(error, "errno", "") or ""),
)
def test_a_broken_machine_or_program_fails_the_job(error: Exception) -> None:
    exclusions = Exclusions("grid")
    with pytest.raises(type(error)), exclusions.guard("sub-0001-v2"):
        raise error
    assert exclusions.rows == []
