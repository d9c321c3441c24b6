"""A machine that fails while a file is read fails the job: no subject is blamed for it."""

import errno
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cof.artefacts.exclusions import Exclusions
from cof.cine import archive, files, nifti, pixels, volume
from cof.cine.annotations import read_annotation
from cof.cine.reader import read_cine_source
from cof.cine.volume import Cine, read_cine, uniform_times, write_cine
from cof.ecg import dicom as ecg_dicom
from cof.ecg import wfdb as ecg_wfdb
from cof.ecg.reader import read_ecg
from cof.errors import CofError, raise_if_broken

BROKEN = [
    MemoryError(),
    ImportError("no such package"),
    *(OSError(code, "broken") for code in (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)),
    *(OSError(code, "broken") for code in (errno.ESTALE, errno.EDQUOT, errno.ETIMEDOUT)),
]
FAULTS = [
    ValueError("x"),
    KeyError("x"),
    EOFError(),
    OSError("Not a gzipped file"),
    FileNotFoundError(errno.ENOENT, "x"),
]


def read_nifti(folder: Path) -> object:
    path = folder / "cine.nii"
    nib.Nifti1Image(np.zeros((4, 4, 3, 2), np.int16), np.diag([1.5, 1.5, 10, 1])).to_filename(path)
    return read_cine_source(path, 0.1)


def read_labels(folder: Path) -> object:
    path = folder / "labels.nii"
    nib.Nifti1Image(np.zeros((4, 4, 3, 2), np.int16), np.eye(4)).to_filename(path)
    cine = Cine(np.zeros((2, 3, 4, 4), np.int16), np.eye(4), uniform_times(2, 900.0), 900.0)
    return read_annotation(path, cine)


def read_own(folder: Path) -> object:
    path = folder / "own.nii"
    write_cine(path, Cine(np.zeros((2, 3, 4, 4), np.int16), np.eye(4), uniform_times(2, 900.0), 900.0))
    return read_cine(path)


def read_scan(folder: Path) -> object:
    scan = folder / "scan"
    scan.mkdir()
    (scan / "one.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    return read_cine_source(scan, 0.1)


def read_waveform(folder: Path) -> object:
    path = folder / "ecg.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    return read_ecg(path)


def read_header(folder: Path) -> object:
    path = folder / "ecg.hea"
    path.write_text("ecg 12 500 5000\n")
    return read_ecg(path)


PLACES = [
    (nifti, "_load", read_nifti),
    (nifti, "_load", read_labels),
    (volume.nib, "load", read_own),
    (files, "_images_of", read_scan),
    (archive, "_read_folder", read_scan),
    (ecg_dicom, "_dataset", read_waveform),
    (ecg_wfdb, "_parts", read_header),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: f"{type(error).__name__}-{getattr(error, 'errno', '')}")
@pytest.mark.parametrize(("module", "name", "read"), PLACES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_broken_machine_never_looks_like_a_bad_subject(tmp_path, monkeypatch, module, name, read, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module, name, fail)
    excluded = Exclusions("any")
    with pytest.raises(type(error)) as caught, excluded.guard("sub-0001"):
        read(tmp_path)
    assert caught.value is error
    assert excluded.rows == []


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("module", "name", "read"), PLACES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_foreign_bytes_cause_is_the_files_fault(tmp_path, monkeypatch, module, name, read, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(CofError):
        read(tmp_path)


def test_a_decoder_that_lacks_memory_breaks_the_job_unless_it_has_its_own_bound(monkeypatch):
    class Child:
        def submit(self, *_):
            return self

        def result(self):
            raise MemoryError

    monkeypatch.setattr(pixels, "_child", Child())
    with pytest.raises(pixels.Unreadable, match="2 GiB"):
        pixels._decode_apart(None)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_errors_of_content_pass(error):
    raise_if_broken(error)
