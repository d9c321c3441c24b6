import pytest

from cof.ecg.categories import ORDER, categorise

# Statements as electrocardiographs print them (GE 12SL by CardioSoft and MUSE), and as those who overread them write;
# the definite categories of each, and the ones it only guesses.
STATEMENTS = {
    # normal, and what only sounds like it
    "Normal ECG": "normal",
    "Normal sinus rhythm": "normal",
    "Normal sinus rhythm, normal ECG": "normal",
    "Otherwise normal ECG": "unclassified",
    "Borderline ECG": "unclassified",
    "Abnormal ECG": "unclassified",
    "Sinus rhythm": "unclassified",
    "Not a normal ECG": "unclassified",
    "Undetermined rhythm": "unclassified",
    # excluded
    "Poor data quality, interpretation may be adversely affected": "excluded",
    "Poor data quality": "excluded",
    "Electronic ventricular pacemaker": "excluded",
    "Atrial-sensed ventricular-paced rhythm": "excluded",
    "AV dual-paced complexes": "excluded",
    "Suspect arm lead reversal, interpretation assumes no reversal": "excluded",
    "No pacemaker spikes": "unclassified",
    # ischaemia and infarction
    "ACUTE MI": "ischaemia",
    "Anterior infarct, age undetermined": "ischaemia",
    "Anteroseptal infarct (cited on or before 01-JAN-2010)": "ischaemia",
    "Inferior infarct, possibly acute": "ischaemia",
    "Lateral infarct , age undetermined": "ischaemia",
    "Septal infarct": "ischaemia",
    "Cannot rule out Anterior infarct, age undetermined": "unclassified ~ischaemia",
    "Possible Inferior infarct": "unclassified ~ischaemia",
    "Old myocardial infarction": "ischaemia",
    "Anterior injury pattern": "ischaemia",
    "Marked ST abnormality, possible anterior subendocardial injury": "repolarisation ~ischaemia",
    "T wave abnormality, consider lateral ischemia": "repolarisation ~ischaemia",
    "T wave abnormality, consider lateral ischaemia or digitalis effect": "repolarisation ~ischaemia",
    "ST elevation, consider early repolarization, pericarditis, or injury": "ischaemia ~repolarisation",
    "ST elevation, probably due to early repolarization": "repolarisation",
    "ST depression, consider subendocardial injury": "ischaemia",
    "Junctional ST depression, probably normal": "unclassified ~ischaemia",
    "No acute infarct": "unclassified",
    "No evidence of infarct or ischemia, normal ECG": "normal",
    "Negative for ischaemia": "unclassified",
    "Acute infarct ruled out, sinus bradycardia": "rhythm",
    "Inferior infarct is no longer present": "unclassified",
    # conduction
    "1st degree AV block": "conduction",
    "Sinus rhythm with 2nd degree AV block (Mobitz I)": "conduction",
    "First degree atrioventricular block": "conduction",
    "Complete heart block": "conduction",
    "Left bundle branch block": "conduction",
    "Right bundle branch block": "conduction",
    "Incomplete right bundle branch block": "conduction",
    "LBBB": "conduction",
    "Left anterior fascicular block": "conduction",
    "Left posterior fascicular block": "conduction",
    "*** Bifascicular block ***": "conduction",
    "Nonspecific intraventricular conduction delay": "conduction",
    "Nonspecific intraventricular block": "conduction",
    "Wolff-Parkinson-White": "conduction",
    "Ventricular pre-excitation, WPW pattern type A": "conduction",
    "Sinus rhythm with short PR": "conduction",
    "Left axis deviation, possible left anterior fascicular block": "other ~conduction",
    # hypertrophy
    "Left ventricular hypertrophy": "hypertrophy",
    "Voltage criteria for left ventricular hypertrophy": "hypertrophy",
    "Minimal voltage criteria for LVH, may be normal variant": "unclassified ~hypertrophy",
    "Moderate voltage criteria for LVH, may be normal variant": "unclassified ~hypertrophy",
    "Left ventricular hypertrophy with QRS widening and repolarization abnormality": "conduction hypertrophy",
    "Possible Left atrial enlargement": "unclassified ~hypertrophy",
    "Left atrial enlargement": "hypertrophy",
    "Biatrial enlargement": "hypertrophy",
    "S1-S2-S3 pattern, consider pulmonary disease, RVH, or normal variant": "unclassified ~hypertrophy",
    # rhythm
    "Sinus bradycardia": "rhythm",
    "Marked sinus bradycardia with sinus arrhythmia": "rhythm",
    "Sinus tachycardia": "rhythm",
    "Atrial fibrillation with rapid ventricular response": "rhythm",
    "Atrial flutter with variable A-V block": "rhythm",
    "Premature atrial complexes": "rhythm",
    "Sinus rhythm with occasional premature ventricular complexes": "rhythm",
    "Premature supraventricular complexes in a pattern of bigeminy": "rhythm",
    "Unusual P axis, possible ectopic atrial rhythm": "unclassified ~rhythm",
    "Junctional rhythm": "rhythm",
    "Accelerated idioventricular rhythm": "rhythm",
    "Sinus pause": "rhythm",
    # repolarisation
    "Nonspecific T wave abnormality": "repolarisation",
    "Nonspecific ST and T wave abnormality": "repolarisation",
    "Non-specific ST changes": "repolarisation",
    "T-wave inversion in V1 to V3": "repolarisation",
    "Prolonged QT": "repolarisation",
    "Borderline prolonged QTc": "unclassified ~repolarisation",
    "Abnormal QRS-T angle, consider primary T wave abnormality": "unclassified ~repolarisation",
    "Early repolarisation": "repolarisation",
    # other
    "Left axis deviation": "other",
    "Right superior axis deviation": "other",
    "Rightward axis": "other",
    "Low voltage QRS": "other",
    "Poor R wave progression": "other",
    # comparisons with an earlier ECG
    "Sinus rhythm has replaced Atrial fibrillation": "unclassified",
    "T wave inversion no longer evident in Lateral leads": "unclassified",
    "QT has shortened": "unclassified",
    "No significant change was found": "unclassified",
    # sentences and clauses
    "Possible left atrial enlargement; Left bundle branch block": "conduction ~hypertrophy",
    "No ectopic beats. Inferior infarct.": "ischaemia",
    "No previous ECG, ST elevation": "ischaemia",
    "Cannot rule out no infarct": "unclassified",
}

# Whole interpretations: categories of several statements, in order of precedence.
INTERPRETATIONS = [
    ([], "unclassified"),
    (["Normal sinus rhythm", "Normal ECG"], "normal"),
    (["Sinus bradycardia", "Otherwise normal ECG"], "rhythm"),
    (["Normal sinus rhythm", "Left axis deviation", "Abnormal ECG"], "other"),
    (["Normal sinus rhythm", "Cannot rule out Anterior infarct, age undetermined"], "normal ~ischaemia"),
    (["Possible Left atrial enlargement", "Left ventricular hypertrophy"], "hypertrophy"),
    (["Atrial fibrillation", "Left bundle branch block", "Abnormal ECG"], "conduction rhythm"),
    (["Inferior infarct, age undetermined", "1st degree AV block"], "ischaemia conduction"),
    (["ACUTE MI", "Poor data quality"], "excluded ischaemia"),
    (["Low voltage QRS", "Prolonged QT", "Sinus tachycardia", "LVH", "Left bundle branch block"],
     "conduction hypertrophy rhythm repolarisation other"),
]  # fmt: skip


def expected(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    words = text.split()
    hard, soft = [w for w in words if w[0] != "~"], [w[1:] for w in words if w[0] == "~"]
    return tuple(hard), tuple(soft)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statement(statement):
    found = categorise([statement])
    hard, soft = expected(STATEMENTS[statement])
    assert (found.names, found.soft, found.primary) == (hard, soft, hard[0])


@pytest.mark.parametrize("statement", STATEMENTS)
def test_capitals_and_blanks_do_not_matter(statement):
    assert categorise([f"  {statement.upper().replace(' ', '   ')} "]) == categorise([statement])


@pytest.mark.parametrize(("statements", "text"), INTERPRETATIONS)
def test_interpretation(statements, text):
    hard, soft = expected(text)
    found = categorise(statements)
    assert (found.names, found.soft, found.primary) == (hard, soft, hard[0])
    assert list(found.names) == sorted(found.names, key=ORDER.index)


def test_the_table_covers_every_category_hard_and_soft_where_that_can_be():
    assert len(STATEMENTS) >= 60
    results = [categorise([statement]) for statement in STATEMENTS]
    assert {name for found in results for name in found.names} == set(ORDER)
    assert {name for found in results for name in found.soft} >= set(ORDER[1:6]) - {"other"}
