import pytest

from cof.ecg.categories import ORDER, categorise

CASES = [
    (["Normal sinus rhythm", "Normal ECG"], ("normal",), ()),
    (["Sinus bradycardia", "Otherwise normal ECG"], ("rhythm",), ()),
    (["Abnormal ECG"], ("unclassified",), ()),
    ([], ("unclassified",), ()),
    (["Otherwise normal ECG"], ("unclassified",), ()),
    (["Normal sinus rhythm", "Left axis deviation", "Abnormal ECG"], ("other",), ()),
    (["Atrial fibrillation", "Left bundle branch block", "Abnormal ECG"], ("conduction", "rhythm"), ()),
    (["Inferior infarct, age undetermined", "1st degree AV block"], ("ischaemia", "conduction"), ()),
    (["Normal sinus rhythm", "Cannot rule out Anterior infarct, age undetermined"], ("normal",), ("ischaemia",)),
    (["Cannot rule out no infarct"], ("unclassified",), ()),
    (["Possible Left atrial enlargement", "Borderline ECG"], ("unclassified",), ("hypertrophy",)),
    (["Minimal voltage criteria for LVH, may be normal variant"], ("unclassified",), ("hypertrophy",)),
    (["Voltage criteria for left ventricular hypertrophy"], ("hypertrophy",), ()),
    (["T wave abnormality, consider lateral ischemia"], ("repolarisation",), ("ischaemia",)),
    (["Nonspecific T wave abnormality", "Prolonged QT"], ("repolarisation",), ()),
    (["No acute infarct"], ("unclassified",), ()),
    (["Inferior infarct is no longer present"], ("unclassified",), ()),
    (["No previous ECG, ST elevation"], ("ischaemia",), ()),
    (["ACUTE MI", "Poor data quality"], ("excluded", "ischaemia"), ()),
    (["Suspect arm lead reversal, interpretation assumes no reversal"], ("excluded",), ()),
    (["Incomplete right bundle branch block", "Left anterior fascicular block"], ("conduction",), ()),
    (["Low voltage QRS"], ("other",), ()),
    (["Marked sinus bradycardia with sinus arrhythmia"], ("rhythm",), ()),
    (["Wolff-Parkinson-White"], ("conduction",), ()),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "names", "soft"), CASES)
def test_statements_to_categories(statements, names, soft):
    found = categorise(statements)
    assert (found.names, found.soft) == (names, soft)
    assert found.primary == names[0]


@pytest.mark.parametrize(("statements", "names", "soft"), CASES)
def test_capitals_and_blanks_do_not_matter(statements, names, soft):
    assert categorise([f"  {text.upper().replace(' ', '   ')} " for text in statements]).names == names


def test_categories_come_in_order_of_precedence():
    found = categorise(
        ["Low voltage QRS", "Prolonged QT", "Sinus tachycardia", "LVH", "LBBB, left bundle branch block"]
    )
    assert list(found.names) == sorted(found.names, key=ORDER.index)
    assert found.primary == "conduction"
