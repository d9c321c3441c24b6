"""Which annotated frames train nnU-Net, which measure it, and how they reach its raw dataset."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from ring_phantom import Cohort, make_cohort

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.parquet import read_table, write_table
from cof.cine.volume import read_cine, read_labels, write_labels
from cof.errors import Reason, UsageError
from cof.labels import dataset


def cases_of(cohort: Cohort, exclusions: Exclusions | None = None) -> list[dataset.Case]:
    return dataset.find_cases(
        cohort.subjects, [cohort.cine], [cohort.annotations], exclusions or Exclusions("labeller")
    )


def test_every_annotated_frame_of_a_training_subject_is_a_case(cohort: Cohort) -> None:
    cases = cases_of(cohort)
    assert [(case.subject, case.phase) for case in cases] == [
        (f"sub-{index:04d}-v2", phase) for index in range(5) for phase in ("ED", "ES")
    ]
    for case in cases:
        assert case.image.shape == case.labels.shape == (5, 64, 64)
        np.testing.assert_array_equal(case.image, read_cine(cohort.cine / f"{case.subject}.nii").frames[case.frame])
        np.testing.assert_array_equal(
            case.labels, read_labels(cohort.annotations / f"{case.subject}.nii.gz")[case.frame]
        )
    ed, es = cases[0], cases[1]
    assert (ed.labels == 1).sum() > (es.labels == 1).sum()


def test_the_validation_split_has_cases_of_its_own(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, training=3, test=0, shape=(3, 24, 24))
    table = read_table(cohort.subjects)
    table.loc[1, "split"] = "validation"
    write_table(cohort.subjects, table, {})
    found = dataset.find_cases(
        cohort.subjects, [cohort.cine], [cohort.annotations], Exclusions("labeller"), split="validation"
    )
    assert {case.subject for case in found} == {"sub-0001-v2"}
    assert {case.subject for case in cases_of(cohort)} == {"sub-0000-v2", "sub-0002-v2"}


def test_subjects_of_other_splits_and_missing_files_are_no_cases(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, training=3, test=1, shape=(3, 24, 24))
    table = read_table(cohort.subjects)
    table.loc[0, "split"] = "test"
    write_table(cohort.subjects, table.assign(annotated=True), {})
    (cohort.cine / "sub-0001-v2.nii").unlink()
    exclusions = Exclusions("labeller")
    assert {case.subject for case in cases_of(cohort, exclusions)} == {"sub-0002-v2"}
    assert exclusions.rows == []


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (np.ones((3, 3, 24, 20), np.uint8), Reason.ANNOTATION_MISMATCH),
        (np.full((3, 3, 24, 24), 9, np.uint8), Reason.ANNOTATION_UNREADABLE),
        (np.zeros((3, 3, 24, 24), np.uint8), Reason.ANNOTATION_UNREADABLE),
    ],
)
def test_an_unusable_annotation_leaves_out_its_subject_only(tmp_path: Path, broken: np.ndarray, reason: Reason) -> None:
    cohort = make_cohort(tmp_path, training=3, test=0, shape=(3, 24, 24))
    write_labels(cohort.annotations / "sub-0001-v2.nii.gz", broken, np.eye(4))
    exclusions = Exclusions("labeller")
    assert {case.subject for case in cases_of(cohort, exclusions)} == {"sub-0000-v2", "sub-0002-v2"}
    assert [(row["subject"], row["reason"]) for row in exclusions.rows] == [("sub-0001-v2", str(reason))]


def case_of(participant: str, visit: int, frame: int) -> dataset.Case:
    volume = np.zeros((1, 2, 2), np.int16)
    subject = f"{participant}-v{visit}"
    return dataset.Case(subject, participant, frame, "ED", volume, volume.astype(np.uint8), (10.0, 2.0, 2.0))


def test_both_visits_and_phases_of_a_participant_are_on_the_same_side() -> None:
    cases = [case_of(f"sub-{n}", visit, frame) for n in range(10) for visit in (2, 3) for frame in (0, 7)]
    held_out = dataset.choose_held_out(cases, 0.3, seed=4)
    assert len(held_out) == 3
    assert held_out == dataset.choose_held_out(cases[::-1], 0.3, seed=4)
    assert held_out != dataset.choose_held_out(cases, 0.3, seed=5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_somebody_is_held_out_and_somebody_trains(share: float) -> None:
    cases = [case_of(f"sub-{n}", 2, 0) for n in range(3)]
    assert len(dataset.choose_held_out(cases, share, seed=0)) == (1 if share == 0 else 2)


def test_one_participant_is_too_few() -> None:
    with pytest.raises(UsageError, match="1 annotated"):
        dataset.choose_held_out([case_of("sub-1", 2, 0), case_of("sub-1", 3, 0)], 0.2, seed=0)


def test_the_fingerprint_sees_a_changed_voxel_and_a_changed_label(cohort: Cohort) -> None:
    cases = cases_of(cohort)
    prints = {dataset.fingerprint(cases)}
    cases[3].image[0, 0, 0] += 1
    prints.add(dataset.fingerprint(cases))
    cases[3].labels[0, 0, 0] = 1
    prints.add(dataset.fingerprint(cases))
    assert len(prints) == 3


def test_nnunet_reads_the_arrays_and_spacings_that_prediction_will_hand_it(cohort: Cohort, tmp_path: Path) -> None:
    cases = cases_of(cohort)
    folder = dataset.write_raw(cases, tmp_path)
    case = cases[4]
    image, properties = NibabelIO().read_images([str(folder / f"imagesTr/{case.name}_0000.nii")])
    labels, _ = NibabelIO().read_seg(str(folder / f"labelsTr/{case.name}.nii"))
    np.testing.assert_array_equal(image[0], case.image)
    np.testing.assert_array_equal(labels[0], case.labels)
    assert properties["spacing"] == pytest.approx(case.spacing_mm)


def test_a_lone_annotated_frame_is_named_by_its_place() -> None:
    labels = np.ones((4, 1, 2, 2), np.uint8)
    assert dataset._phases(labels, np.array([0])) == {0: "ED"}
    assert dataset._phases(labels, np.array([2])) == {2: "ES"}


def test_frames_between_ed_and_es_are_neither() -> None:
    labels = np.zeros((5, 1, 4, 4), np.uint8)
    for frame, count in {0: 4, 2: 1, 4: 3}.items():
        labels[frame, 0, 0, :count] = 1
    assert dataset._phases(labels, np.array([0, 2, 4])) == {0: "ED", 2: "ES", 4: "other"}


def test_the_sheet_of_a_batch_without_annotations_gives_no_case(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, training=0, test=2, shape=(3, 24, 24))
    assert cases_of(cohort) == []
    assert isinstance(read_table(cohort.subjects), pd.DataFrame)
