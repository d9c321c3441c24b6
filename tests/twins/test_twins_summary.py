"""The numbers of one heart: who the patient is, the ranges beside them, their marks, and how all is printed."""

import math
from pathlib import Path
from typing import Any

import pytest

from cof.cine.patient import read_patient
from cof.errors import UsageError
from cof.heart.reference_ranges import ABSOLUTE
from cof.twins.patient import options_of, patient_of
from cof.twins.summary import INDICES, index_records, reference_record
from cof.twins.text import WIDTH, numbers, text_of

LV = {"edv_ml": 200.0, "esv_ml": 80.0, "sv_ml": 120.0, "ef_pct": 60.0, "co_l_min": 8.4, "mass_g": 100.0}
RV = {"edv_ml": 150.0, "esv_ml": 60.0, "sv_ml": 90.0, "ef_pct": None, "co_l_min": 6.3}
FUNCTION = {"LV": LV, "RV": RV, "rr_ms": 857.0}
INTERVALS = {"coverage": 0.9, "ef_pct": {"low": 52.0, "high": 68.0}, "note": "of a calibration"}


def rows(sex: str | None = None, bsa: float | None = None, **more: Any) -> dict[str, dict[str, Any]]:
    given = {"function": FUNCTION, "recorded": None, "intervals": {}} | more
    return {record["name"]: record for record in index_records(**given, sex=sex, bsa_m2=bsa)}


def summary(sex: str | None = None, size: tuple[float, float] | None = None, **more: Any) -> dict[str, Any]:
    stated = ({"sex": sex} if sex else {}) | (dict(zip(("height_cm", "weight_kg"), size)) if size else {})
    patient = patient_of({"option": stated}).record()
    recorded = more.pop("recorded", None)
    made = {
        "model": "cof",
        "notice": "The user chose the files.",
        "function": FUNCTION,
        "ecg": {"rr_ms": 900.0, "repairs": ["a gap of 3 samples filled"], "categories": ["rhythm"], "paced": True},
        "scan": {"kind": "cine", "frames": 25, "slices": 10, "rolled_by": 3, "ed_by": "image", "rr_ms": 857.0,
                 "anchor_phase": 0.0, "repairs": []},
        "patient": patient,
        "reference": reference_record(),
        "indices": index_records(FUNCTION, recorded, more.get("intervals", {}), patient["sex"], patient["bsa_m2"]),
        "labels": {"doubtful": False, "doubtful_slices": [], "message": ""},
        "warnings": [],
        "trained_on": {},
        "terms": ["under a licence of its own"],
    }  # fmt: skip
    return made | more


def test_a_value_is_marked_by_the_range_of_its_sex() -> None:
    edv = rows()["LV EDV"]
    assert edv["ranges"] == {sex: list(limits) for sex, limits in ABSOLUTE["LV", "edv_ml"].items()}
    assert edv["outside"] == {"F": "high", "M": ""}  # 200 mL; women to 175, men to 232
    assert rows("M")["LV EDV"]["outside"] == {"M": ""}
    assert rows("F")["LV EDV"]["outside"] == {"F": "high"}
    assert rows("F")["LV CO"]["ranges"] == {}


def test_numbers_per_body_surface() -> None:
    found = rows("F", bsa=2.0)
    assert found["LV EDV"]["per_m2"]["generated"] == 100.0
    assert found["LV EDV"]["per_m2"]["outside"] == {"F": ""}  # to 101 mL/m2
    assert found["LV CO"]["per_m2"]["generated"] == pytest.approx(4.2)
    assert found["LV EF"]["per_m2"] is None
    assert found["RV EF"]["per_m2"] is None
    assert "per_m2" not in rows("F")["LV EDV"]


def test_a_mark_agrees_with_what_is_printed() -> None:
    """Women's EF: 61 - 1.96 x 5 = 51.2 %, printed as 51; a value that is printed as 51, too, is inside."""
    for value, mark in ((50.6, ""), (50.4, "low")):
        function = {"LV": LV | {"ef_pct": value}, "RV": RV}
        ef = rows("F", function=function)["LV EF"]
        assert ef["ranges"] == {"F": [51, 71]}
        assert ef["outside"] == {"F": mark}


def test_what_is_not_defined_is_none_and_never_marked() -> None:
    ef = rows(recorded=FUNCTION)["RV EF"]
    assert (ef["generated"], ef["scan"], ef["interval"]) == (None, None, None)
    assert not any(ef["outside"].values())
    assert rows(recorded=FUNCTION)["LV EDV"]["scan"] == 200.0
    assert rows(intervals=INTERVALS)["LV EF"]["interval"] == [52.0, 68.0]
    assert len(rows()) == len(INDICES)


def test_the_first_source_that_states_a_value_wins_and_a_contradiction_is_said() -> None:
    patient = patient_of(
        {
            "option": {"age_y": 50.0},
            "scan": {"sex": "F", "age_y": 61.0, "height_cm": 180.0, "weight_kg": 0.0},
            "ECG": {"sex": "M", "weight_kg": 80.0},
        }
    )
    assert (patient.sex, patient.age_y, patient.height_cm, patient.weight_kg) == ("F", 50.0, 180.0, 80.0)
    assert patient.by == {"age_y": "option", "sex": "scan", "height_cm": "scan", "weight_kg": "ECG"}
    assert patient.bsa_m2 == pytest.approx(2.0)
    assert patient.remarks == (
        "age 50 by the option, 61 by the scan: is it the same person?",
        "weight 0 kg by the scan: not used",
        "sex F by the scan, M by the ECG: is it the same person?",
    )
    assert patient_of({"scan": {"age_y": 61.0}, "ECG": {"age_y": 64.0}}).remarks == ()
    assert math.isnan(patient_of({}).bsa_m2)
    assert patient_of({}).record()["sex"] is None


def test_an_empty_age_is_no_newborn_and_a_body_that_nobody_has_is_not_used() -> None:
    """Devices write 0 into fields that nobody filled in; 178 kg at 78 cm is a slip, which would give 2.0 m2."""
    patient = patient_of({"scan": {"age_y": 0.0, "height_cm": 78.0}, "ECG": {"age_y": 61.0, "weight_kg": 178.0}})
    assert (patient.age_y, patient.by["age_y"]) == (61.0, "ECG")
    assert math.isnan(patient.bsa_m2)
    assert patient.record()["height_cm"] is patient.record()["weight_kg"] is None
    assert set(patient.by) == {"age_y"}
    assert patient.remarks == (
        "age 0 years by the scan: not used",
        "height 78 cm by the scan and weight 178 kg by the ECG: not used, since nobody has both",
    )


def test_a_height_in_cm_where_dicom_demands_metres_is_taken_as_cm() -> None:
    patient = patient_of({"scan": {"height_cm": 17800.0}, "ECG": {"height_cm": 41.0}})
    assert (patient.height_cm, patient.by, patient.remarks) == (
        178.0, {"height_cm": "scan"}, ("height 178 m by the scan: taken as cm",)
    )  # fmt: skip
    assert patient_of({"scan": {"height_cm": 17.8}}).remarks == ("height 17.8 cm by the scan: not used",)
    for lost in (math.nan, math.inf, 0.0, 178_000.0):
        assert math.isnan(patient_of({"scan": {"height_cm": lost}}).height_cm)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("x", None, None, None), "--sex: 'x' is neither F nor M"),
        ((None, 200.0, None, None), "--age: 200 is not above 0 and at most 120 years"),
        ((None, None, 1.68, None), "--height: 1.68 is not above 40 and at most 250 cm"),
        ((None, None, None, math.nan), "--weight: nan"),
        ((None, 0.0, None, None), "--age: 0 is not above 0"),
        ((None, None, 78.0, 178.0), "nobody has --height 78 .in cm. and --weight 178"),
    ],
)
def test_an_option_that_no_person_has_is_refused(options: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        options_of(*options)


def test_options_in_words() -> None:
    assert options_of("female", 61, None, None) == {"sex": "F", "age_y": 61}


@pytest.mark.parametrize("size", [None, (180.0, 80.0)])
@pytest.mark.parametrize("sex", [None, "F", "M"])
def test_the_text_is_narrow_ascii_and_says_what_matters(sex: str | None, size: tuple[float, float] | None) -> None:
    said = text_of(
        summary(sex, size, recorded=FUNCTION, intervals=INTERVALS, warnings=[{"of": "labels", "message": "“odd”"}])
    )
    assert said.isascii()
    assert max(map(len, said.splitlines())) <= WIDTH
    flat = " ".join(said.split())
    assert "SYNTHETIC, NOT FOR DIAGNOSIS" in said
    assert "70 bpm by the scan, 67 bpm by the ECG" in flat
    assert "rhythm; paced" in flat
    assert "ED is frame 3, by the images" in flat
    assert "ECG: a gap of 3 samples filled" in flat
    assert "under a licence of its own" in flat
    assert "10.1186/s12968-017-0327-9" in flat
    assert (" women" in said.split("Ranges")[0]) is (sex != "M")
    assert ("per m2" in said.split("Ranges")[0].split("generated")[1]) is (size is not None)
    (ef,) = [line for line in said.splitlines() if line.startswith("LV EF")]
    assert "52-68" in ef
    (edv,) = [line for line in said.splitlines() if line.startswith("LV EDV")]
    assert (" H" in edv) is (sex != "M")
    assert any(line.startswith("RV EF") and "no range" in line for line in said.splitlines())


def test_doubtful_labels_have_no_numbers() -> None:
    labels = {"doubtful": True, "doubtful_slices": [1, 9], "message": "labels doubtful, slices 1 and 9"}
    said = text_of(summary(labels=labels, warnings=[{"of": "labels of the scan", "message": labels["message"]}]))
    assert "LV EDV" not in said
    assert "labels of the scan: labels doubtful, slices 1 and 9" in " ".join(said.split())
    some = text_of(summary(labels=labels | {"doubtful": False}))
    assert "LV EDV" in some
    assert "labels doubtful, slices 1 and 9" in " ".join(some.split())


def test_ranges_of_other_ages_are_said_to_be_so() -> None:
    made = summary("F")
    made["patient"]["age_y"], made["patient"]["stated_by"]["age_y"] = 30.0, "scan"
    assert "The patient is 30 years old: these ranges are of ages 45 to 74." in " ".join(text_of(made).split())
    assert "both ranges are shown" in text_of(summary())


@pytest.mark.parametrize(
    ("age", "words", "outside"),
    [(0.5, "6 months", True), (1.25, "15 months", True), (44.9, "44 years", True), (74.9, "74 years", False)],
)
def test_an_age_is_in_completed_years_and_that_of_an_infant_in_months(age: float, words: str, outside: bool) -> None:
    made = summary("F")
    made["patient"]["age_y"], made["patient"]["stated_by"]["age_y"] = age, "scan"
    said = " ".join(text_of(made).split())
    assert f"{words} (by the scan)" in said
    assert (f"The patient is {words} old" in said) is outside


def test_a_heart_of_images_without_size_says_what_would_index_it() -> None:
    assert "--height and --weight" in " ".join(text_of(summary()).split())
    bare = {"model": "cof", "ecg": None, "scan": {"repairs": []}, "trained_on": {}, "warnings": []}
    assert "Repairs     none" in text_of(bare)
    assert numbers(bare) == []


def test_patient_of_a_dicom_header(tmp_path: Path) -> None:
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    def write(name: str, **values: Any) -> None:
        data, meta = Dataset(), FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
        data.file_meta, data.SOPClassUID = meta, MRImageStorage
        data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        for key, value in values.items():
            setattr(data, key, value)
        data.Rows = data.Columns = 1
        data.BitsAllocated = data.BitsStored = 16
        data.PixelRepresentation, data.SamplesPerPixel = 0, 1
        data.PixelData = b"\0\0"
        with pydicom.config.disable_value_validation():
            data.save_as(tmp_path / name / "image.dcm", enforce_file_format=True)

    for name, values, found in (
        ("whole", {"PatientSex": "F", "PatientAge": "061Y", "PatientSize": "1.65", "PatientWeight": "70"},
         {"sex": "F", "age_y": 61.0, "height_cm": 165.0, "weight_kg": 70.0}),
        ("child", {"PatientSex": "O", "PatientAge": "006M"}, {"age_y": 0.5}),
        ("empty", {"PatientSex": "", "PatientAge": ""}, {}),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        write(name, **values)
        assert read_patient(tmp_path / name) == pytest.approx(found)
