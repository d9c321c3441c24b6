import logging

import numpy as np
import pandas as pd
import pytest
from ecg_files import muse_xml
from strips import every, spikes, strip

from cof.artefacts.parquet import read_provenance, read_table, write_table
from cof.config.data import BeatSettings, EcgSettings
from cof.ecg.record import LEADS, Ecg
from cof.ecg.stage import beats_batch, parse_batch


@pytest.fixture
def batch(tmp_path, ecg_file):
    good, other, cut = ecg_file(), ecg_file(seed=1, conduction="lbbb", qrs_ms=150.0), ecg_file()
    cut.write_bytes(cut.read_bytes()[:50000])
    mismatch = ecg_file()
    mismatch.write_bytes(mismatch.read_bytes().replace(b'"BPM">6', b'"BPM">9'))
    paths = {"a-v2": good, "b-v2": other, "c-v2": cut, "d-v2": tmp_path / "secret.xml", "e-v2": None, "f-v2": mismatch}
    key = pd.DataFrame({"subject": [*paths, "z-v2"], "ecg": [str(p) if p else None for p in paths.values()] + ["x"]})
    write_table(tmp_path / "key.parquet", key, {})
    write_table(tmp_path / "sheet.parquet", pd.DataFrame({"subject": list(paths)}), {})
    return tmp_path


def run(folder, settings=None):
    parse_batch(
        sheet=folder / "sheet.parquet",
        key=folder / "key.parquet",
        out=folder / "ecg.parquet",
        exclusions=folder / "ecg_exclusions.parquet",
        settings=settings or EcgSettings(),
    )
    beats_batch(
        ecg=folder / "ecg.parquet",
        out=folder / "beats.parquet",
        exclusions=folder / "beats_exclusions.parquet",
        settings=BeatSettings(),
    )


def test_good_subjects_pass_and_bad_ones_get_a_reason(batch, caplog):
    with caplog.at_level(logging.DEBUG):
        run(batch)
    assert "secret" not in caplog.text
    ecg, beats = read_table(batch / "ecg.parquet"), read_table(batch / "beats.parquet")
    assert list(ecg["subject"]) == ["a-v2", "b-v2", "f-v2"]
    assert "conduction" in ecg.set_index("subject").loc["b-v2", "categories"]
    left_out = read_table(batch / "ecg_exclusions.parquet").set_index("subject")
    assert dict(left_out["reason"]) == {"c-v2": "ecg_unreadable", "d-v2": "ecg_missing", "e-v2": "ecg_missing"}
    assert not left_out["message"].str.contains("secret|/").any()
    assert list(beats["subject"]) == ["a-v2", "b-v2"]
    assert dict(read_table(batch / "beats_exclusions.parquet")[["subject", "reason"]].values) == {
        "f-v2": "beat_rate_mismatch"
    }
    assert {len(beat) for beat in beats["beat"]} == {12 * 512}
    assert beats["beat"][0].dtype == np.float32
    assert set(beats) == {
        "subject", "beat", "rr_ms", "correlation", "low_quality", "irregular", "first_sample", "last_sample", "rate_hz",
        "beats", "mean_rate_bpm", "rate_deviation", "ectopic_beats", "ventricular_ectopic_beats", "paced",
        "measured_p_axis_deg", "measured_qrs_axis_deg", "suspected_reversal", "features", "sex",
    }  # fmt: skip
    assert (beats["rate_deviation"].abs() < 0.1).all()
    assert list(beats["suspected_reversal"]) == ["", ""]


def test_records_survive_the_table(batch):
    run(batch)
    row = read_table(batch / "ecg.parquet").iloc[0]
    ecg = Ecg.from_row(row)
    assert ecg.signal.shape == (12, 5000)
    assert ecg.measurements["ventricular_rate_bpm"] == pytest.approx(64, abs=4)
    assert ecg.filters["Filter50Hz"] == "No"
    assert row["primary_category"] == row["categories"][0]
    assert list(row["recorded_leads"]) == list(LEADS)
    assert (row["source"], row["lsb_mv"]) == ("CardioSoft StripData", 0.005)
    assert ecg.measurements["weight_kg"] == pytest.approx(float(row["weight_kg"]))


def test_checks_are_columns(batch):
    run(batch)
    row = read_table(batch / "ecg.parquet").iloc[0]
    assert 0 <= row["einthoven_lsb"] <= 1.01
    assert 0 <= row["goldberger_lsb"] <= 1.01
    assert row["limb_leads_consistent"]
    assert (row["flat_share"], row["clipped_share"]) == (0, 0)
    assert list(row["flat_leads"]) == list(row["clipped_leads"]) == []


def test_an_unusable_lead_excludes(batch, ecg_file):
    """A dead electrode is a flat lead in the file of a device."""
    path = ecg_file()
    content = path.read_text("latin-1")
    start = content.index('lead="V5">', content.index("<StripData>")) + len('lead="V5">')
    end = content.index("<", start)
    path.write_text(content[:start] + ",".join(["7"] * 5000) + content[end:], "latin-1")
    write_table(batch / "key.parquet", pd.DataFrame({"subject": ["a-v2"], "ecg": [str(path)]}), {})
    write_table(batch / "sheet.parquet", pd.DataFrame({"subject": ["a-v2"]}), {})
    run(batch)
    left_out = read_table(batch / "ecg_exclusions.parquet").iloc[0]
    assert left_out["reason"] == "ecg_poor_quality"
    assert left_out["message"] == "lead V5 is flat over 100 % of the strip"


def test_same_input_gives_the_same_bytes_and_provenance(batch):
    run(batch)
    first = {path.name: path.read_bytes() for path in batch.glob("*.parquet")}
    run(batch)
    assert {path.name: path.read_bytes() for path in batch.glob("*.parquet")} == first
    assert set(read_provenance(batch / "beats.parquet")) == {"config_hash", "versions"}
    before = read_provenance(batch / "ecg.parquet")["config_hash"]
    run(batch, EcgSettings(min_seconds=5))
    assert read_provenance(batch / "ecg.parquet")["config_hash"] != before


def test_a_batch_that_is_empty_or_all_bad_still_gives_tables(batch):
    write_table(batch / "sheet.parquet", pd.DataFrame({"subject": ["e-v2"]}), {})
    run(batch)
    assert len(read_table(batch / "ecg.parquet")) == len(read_table(batch / "beats.parquet")) == 0
    assert "beat" in read_table(batch / "beats.parquet")
    assert list(read_table(batch / "ecg_exclusions.parquet")["subject"]) == ["e-v2"]


def test_poor_quality_by_the_device_excludes(batch, ecg_file):
    path = ecg_file()
    path.write_bytes(path.read_bytes().replace(b"<DiagnosisText>", b"<DiagnosisText>Poor data quality, ", 1))
    write_table(batch / "key.parquet", pd.DataFrame({"subject": ["a-v2"], "ecg": [str(path)]}), {})
    write_table(batch / "sheet.parquet", pd.DataFrame({"subject": ["a-v2"]}), {})
    run(batch)
    assert list(read_table(batch / "ecg_exclusions.parquet")["reason"]) == ["ecg_poor_quality"]


def test_a_participant_id_that_staff_typed_into_the_device_is_blanked_out(batch, ecg_file):
    identity, named = str(2 * 10**6 + 345678), ecg_file()
    typed = f"<DiagnosisText>Compared with {identity}</DiagnosisText></Diagnosis>".encode()
    named.write_bytes(named.read_bytes().replace(b"</Diagnosis>", typed))
    write_table(batch / "key.parquet", pd.DataFrame({"subject": ["a-v2"], "ecg": [str(named)]}), {})
    run(batch)
    statements = read_table(batch / "ecg.parquet").set_index("subject").loc["a-v2", "statements"]
    assert statements[-1] == "Compared with <id>"


@pytest.fixture
def paced_batch(tmp_path):
    """One strip whose spikes are found, one whose device states pacing, and one without."""
    times = every(0.9)
    clean = strip(times, 500.0)
    signals = {"found-v2": clean + spikes(times - 0.18, 500.0, (3.0,)), "stated-v2": clean, "free-v2": clean}
    said = "<StmtText>Electronic atrial pacemaker</StmtText>"
    said = f"<Diagnosis><DiagnosisStatement>{said}</DiagnosisStatement></Diagnosis>"
    paths = {}
    for name, signal in signals.items():
        counts = {lead: np.rint(values * 1000 / 4.88) for lead, values in zip(LEADS, signal)}
        text = muse_xml(counts, diagnosis=said if name == "stated-v2" else "").replace(b">48<", b">67<")
        paths[name] = tmp_path / f"{name}.xml"
        paths[name].write_bytes(text)
    write_table(tmp_path / "key.parquet", pd.DataFrame({"subject": list(paths), "ecg": map(str, paths.values())}), {})
    write_table(tmp_path / "sheet.parquet", pd.DataFrame({"subject": list(paths)}), {})
    return tmp_path


def test_stated_and_found_pacing_are_left_out_alike(paced_batch):
    run(paced_batch)
    left_out = read_table(paced_batch / "ecg_exclusions.parquet").set_index("subject")
    assert dict(left_out["reason"]) == {"found-v2": "ecg_poor_quality", "stated-v2": "ecg_poor_quality"}
    assert "11 pacing spikes were found" in left_out.loc["found-v2", "message"]
    assert "the device says so" in left_out.loc["stated-v2", "message"]
    assert list(read_table(paced_batch / "beats.parquet")["subject"]) == ["free-v2"]


def test_stated_and_found_pacing_are_kept_alike_and_flagged(paced_batch):
    run(paced_batch, EcgSettings(paced="keep"))
    ecg = read_table(paced_batch / "ecg.parquet").set_index("subject")
    beats = read_table(paced_batch / "beats.parquet").set_index("subject")
    assert dict(beats["paced"]) == {"found-v2": True, "stated-v2": True, "free-v2": False}
    assert dict(ecg["pacing_spikes"]) == {"found-v2": 11, "stated-v2": 0, "free-v2": 0}
    assert list(ecg.loc["found-v2", "repairs"]) == ["11 pacing spikes found and bridged"]
    assert "excluded" not in ecg.loc["stated-v2", "categories"]
    assert Ecg.from_row(ecg.loc["found-v2"]).pacing_spikes == 11
    # All three show the same heart.
    for name in ("found-v2", "stated-v2"):
        np.testing.assert_allclose(beats.loc[name, "beat"], beats.loc["free-v2", "beat"], atol=0.03)
