"""Sheet of ACDC's patients (Bernard et al., 2018): ED and ES as labelled by experts, written as pairs with a sheet.

The folder is that of the challenge, with 4D cines, or one with only the two labelled frames of every patient. Labels
are mapped to our codes. Of the headers, only the spacing is kept, since nothing else in them is reliable.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from cof.artefacts.folders import refuse_foreign, whole_folder
from cof.cine.annotations import whole_labels
from cof.cine.geometry import spacing_of
from cof.cine.nifti import Stored, read_array
from cof.cine.volume import to_int16
from cof.errors import CofError, Reason, UsageError
from cof.heart.structures import STRUCTURES
from cof.sheets.table import check_place, counted, some, start_of_paths, write_rows

PATIENTS = 100
VALIDATION = 4  # validation patients in each group
# Diagnoses as Info.cfg names them.
GROUPS = {"NOR": "normal", "DCM": "dilated", "HCM": "hypertrophic", "MINF": "infarct", "RV": "abnormal RV"}
CODES = {1: STRUCTURES["RV"], 2: STRUCTURES["myocardium"], 3: STRUCTURES["LV"]}
CITATION = (
    "O. Bernard et al., Deep Learning Techniques for Automatic MRI Cardiac Multi-structures Segmentation and "
    "Diagnosis: Is the Problem Solved?, IEEE Trans Med Imaging 37(11):2514-2525, 2018, doi:10.1109/TMI.2018.2837502"
)
TERMS = (
    "ACDC's terms: CC BY-NC-SA 4.0, not for commercial use; share what you make of it under the same terms; in "
    f"publications cite {CITATION}"
)

_COLUMNS = ("subject", "visit", "ecg", "cine", "annotation", "split", "origin", "group")
_NAME = re.compile(r"patient[0-9]{3}")
_ENDINGS = (".nii.gz", ".nii")
_SAME_MM = 1e-3


@dataclass(frozen=True)
class Patient:
    """The files of one patient.

    Attributes:
        name: patientNNN.
        group: a key of `GROUPS`.
        ed, es: labelled frames of the cine, counted from 1.
        frames: number of frames of the cine.
        images: files of ED and ES, one frame each.
        labels: label files of ED and ES, one frame each.
        cine: file of the whole cine; None where the folder lacks it.
    """

    name: str
    group: str
    ed: int
    es: int
    frames: int
    images: tuple[Path, Path]
    labels: tuple[Path, Path]
    cine: Path | None

    @property
    def es_phase(self) -> float:
        """Phase of ES with ED at 0, if the frames are evenly spaced over one cycle."""
        return round((self.es - self.ed) % self.frames / self.frames, 4)


def write_acdc(folder: Path, out: Path, cines: bool = False, overwrite: bool = False) -> str:
    """Write ACDC's labelled frames and annotations into a folder beside the sheet, and the sheet itself.

    The folder has the name of the sheet without its suffix. In each group, the four patients whose names have the
    lowest SHA-256 are the validation patients; all others train. Patients in a folder `testing` are not used.

    Args:
        folder: folder that holds patientNNN/, directly or in `training/`; nothing is written into it.
        out: path of the sheet.
        cines: whether to use whole 4D cines, unchanged, in place of pairs.
        overwrite: whether to replace a sheet and a folder that this command has written.

    Returns:
        Content of the sheet, what was left out, ACDC's terms, and the next command, one line each.

    Raises:
        UsageError: there is no usable patient, a path may not be written to or replaced, or lies in `folder`.
    """
    made = out.with_suffix("")
    if made == out:
        raise UsageError(f"--out {out} has no suffix: name the sheet {out}.csv, for example")
    if made.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"--out {out} lies in {folder}, which is only read: choose another place")
    check_place(out, False, overwrite)
    if made.is_dir() and any(made.iterdir()) and not overwrite:
        raise UsageError(f"the folder of images {made} exists; --overwrite replaces it, if cof made it")
    refuse_foreign(made)
    patients, faults = list_patients(folder, cines)
    validation = choose_validation(patients)
    start, rows = start_of_paths(folder, out), []
    with whole_folder(made) as aside:
        for patient in tqdm(patients, desc="sheet", unit=" patients", disable=None):
            try:
                _write_patient(patient, aside, cines)
            except CofError as error:
                faults[str(error)].append(patient.name)
                continue
            row: dict[str, str | int | float] = {
                "subject": patient.name,
                "visit": 1,
                "cine": f"{made.name}/{patient.name}.nii.gz",
                "annotation": f"{made.name}/{patient.name}_labels.nii.gz",
                "split": "validation" if patient.name in validation else "train",
                "origin": "real",
                "group": patient.group,
            }
            if cines:
                assert patient.cine is not None, "list_patients leaves out patients without one"
                row |= {"cine": start + patient.cine.relative_to(folder).as_posix(), "ed_frame": patient.ed - 1}
            else:
                row["es_phase"] = patient.es_phase
            rows.append(row)
        if not rows:
            raise UsageError("; ".join((f"no patient of {folder} can be used", *_said(faults))))
    write_rows(out, (*_COLUMNS, "ed_frame" if cines else "es_phase"), rows)
    return "\n".join((_contents(rows, out, cines), *_remarks(folder, rows, faults), TERMS, _next(out)))


def list_patients(folder: Path, cines: bool = False) -> tuple[list[Patient], dict[str, list[str]]]:
    """List the usable patients in ACDC's folder, sorted by name, and the names of all others by their fault.

    Args:
        folder: folder that holds patientNNN/, directly or in `training/`.
        cines: whether a patient needs a 4D cine.

    Raises:
        UsageError: there is no patient.
    """
    within = folder / "training" if (folder / "training").is_dir() else folder
    places = sorted(place for place in within.iterdir() if place.is_dir() and _NAME.fullmatch(place.name))
    if not places:
        raise UsageError(
            f"{folder} holds no folder such as patient001, nor does its folder training: give the folder of ACDC"
        )
    faults: dict[str, list[str]] = defaultdict(list)
    patients = []
    for place in places:
        try:
            patient = _read_patient(place)
        except ValueError as error:
            faults[str(error)].append(place.name)
            continue
        if cines and patient.cine is None:
            faults["no 4D cine"].append(place.name)
        else:
            patients.append(patient)
    return patients, faults


def choose_validation(patients: Sequence[Patient]) -> set[str]:
    """Return the names of the validation patients: in each group the four with the lowest SHA-256 of their name.

    The SHA-256 is compared as hexadecimal text. In a group of fewer than eight, at most half are chosen.
    """
    chosen = set()
    for group in GROUPS:
        names = [patient.name for patient in patients if patient.group == group]
        ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        chosen |= set(ranked[: min(VALIDATION, len(names) // 2)])
    return chosen


def _read_patient(place: Path) -> Patient:
    """Read the patient of one folder; raise ValueError that says what is wrong."""
    info = _read_info(place / "Info.cfg")
    group = info.get("Group", "")
    if group not in GROUPS:
        raise ValueError(f"Info.cfg names the group '{group}', not one of {', '.join(GROUPS)}")
    try:
        ed, es, frames = (int(info[key]) for key in ("ED", "ES", "NbFrame"))
    except (KeyError, ValueError):
        raise ValueError("Info.cfg lacks a whole number for ED, ES or NbFrame") from None
    if not (1 <= ed <= frames and 1 <= es <= frames and ed != es):
        raise ValueError(f"Info.cfg names ED {ed} and ES {es} of {frames} frames")
    numbers = (ed, es)
    images = [_file(place, f"{place.name}_frame{number:02d}") for number in numbers]
    labels = [_file(place, f"{place.name}_frame{number:02d}_gt") for number in numbers]
    found = [path for path in (*images, *labels) if path is not None]
    if len(found) < 4:
        raise ValueError("an image or a label file of ED or ES is missing")
    return Patient(
        place.name, group, ed, es, frames, (found[0], found[1]), (found[2], found[3]), _file(place, f"{place.name}_4d")
    )


def _read_info(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise ValueError("no Info.cfg") from None
    parts = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in parts if colon}


def _file(place: Path, stem: str) -> Path | None:
    """Find a NIfTI, also inside a folder of the same name, as in some copies."""
    for ending in _ENDINGS:
        path = place / f"{stem}{ending}"
        inner = path / path.name
        if path.is_file() or inner.is_file():
            return path if path.is_file() else inner
    return None


def _write_patient(patient: Patient, out: Path, cines: bool) -> None:
    """Write a patient's annotation and, unless the whole cine is used unchanged, the images of ED and ES.

    Raises:
        CofError: files cannot be read, or do not fit each other.
    """
    drawn = [_ours(read_array(path, Reason.ANNOTATION_UNREADABLE)) for path in patient.labels]
    if cines:
        assert patient.cine is not None
        first = read_array(patient.cine, Reason.CINE_UNREADABLE)
        if len(first.values) != patient.frames:
            raise CofError(Reason.CINE_UNREADABLE, "the cine does not have the number of frames that Info.cfg names")
        labels = np.zeros(first.values.shape, np.uint8)
        frames = [patient.ed - 1, patient.es - 1]
    else:
        first, second = (read_array(path, Reason.CINE_UNREADABLE) for path in patient.images)
        _check_alike(first, second)
        both = np.concatenate([first.values, second.values])
        _write(out / f"{patient.name}.nii.gz", to_int16(both)[0], first)
        labels, frames = np.zeros(both.shape, np.uint8), [0, 1]
    for frame, stack in zip(frames, drawn):
        if stack.shape != labels.shape[1:]:
            raise CofError(Reason.ANNOTATION_MISMATCH, "labels and images do not have the same voxels")
        labels[frame] = stack
    _write(out / f"{patient.name}_labels.nii.gz", labels, first)


def _check_alike(one: Stored, other: Stored) -> None:
    """Raise CofError unless the two files of a pair have one frame each, on the same voxels."""
    if len(one.values) != 1 or one.values.shape != other.values.shape:
        raise CofError(Reason.CINE_UNREADABLE, "the files of ED and ES must have one frame each, of the same size")
    if not np.allclose(one.affine, other.affine, atol=_SAME_MM):
        raise CofError(Reason.CINE_GEOMETRY, "the files of ED and ES must have the same spacing")


def _ours(stored: Stored) -> np.ndarray:
    """Map ACDC's labels of one frame to our codes, uint8 [Z, Y, X]."""
    values = whole_labels(stored.values)
    others = set(np.unique(values).tolist()) - {0, *CODES}
    if len(values) != 1 or others:
        found = f"the label {min(others)}" if others else f"{len(values)} frames"
        raise CofError(Reason.ANNOTATION_CODES, f"a label file has {found}; ACDC's have one frame of 1, 2 and 3")
    ours = np.zeros(values.shape[1:], np.uint8)
    for theirs, code in CODES.items():
        ours[values[0] == theirs] = code
    return ours


def _write(path: Path, frames: np.ndarray, like: Stored) -> None:
    """Write frames [T, Z, Y, X] with the spacing of another file, and its affine if that states the orientation."""
    x, y, z = spacing_of(like.affine)
    image = nib.Nifti1Image(frames.transpose(3, 2, 1, 0), like.affine if like.oriented else None)
    image.header.set_xyzt_units("mm")
    image.header.set_zooms((x, y, z, 0.0))
    nib.save(image, path)


def _contents(rows: Sequence[Mapping[str, str | int | float]], out: Path, cines: bool) -> str:
    by_group = Counter(str(row["group"]) for row in rows)
    groups = ", ".join(f"{by_group[group]} {group} ({said})" for group, said in GROUPS.items() if by_group[group])
    splits = Counter(str(row["split"]) for row in rows)
    what = "cine" if cines else "pair of ED and ES"
    said = counted(len(rows), what) if cines or len(rows) == 1 else f"{len(rows):,} pairs of ED and ES"
    return f"{out}: {said}, without an ECG: {groups}; {splits['train']} train, {splits['validation']} validation"


def _said(faults: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"left out, {fault}: {some(names, 'patient')}" for fault, names in faults.items()]


def _remarks(
    folder: Path, rows: Sequence[Mapping[str, str | int | float]], faults: Mapping[str, Sequence[str]]
) -> list[str]:
    remarks = _said(faults)
    if len(rows) != PATIENTS:
        remarks.append(
            f"{counted(len(rows), 'patient')} of ACDC's {PATIENTS} training patients: the split is chosen among these, "
            f"and differs from the split of all {PATIENTS}"
        )
    if (folder / "testing").is_dir():
        remarks.append("the patients in testing/ were not used")
    return remarks


def _next(out: Path) -> str:
    return (
        f'next: snakemake --cores 2 --config "cohort={{sheet: {out}}}" -n results/labeller; '
        "or `make real`, which combines it with synthetic subjects"
    )
