from pathlib import Path

import pandas as pd
import pytest

from cof.errors import CofError, Exclusions, Reason, redact

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
