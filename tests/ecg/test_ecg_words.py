"""Messages of the ECG reader on files that are no ECG."""

import gzip
import io
import zipfile

import nibabel
import numpy as np
import pytest
from ecg_files import dicom_file, group
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

from cof.ecg.reader import read_ecg
from cof.errors import CofError, Reason


def image(kind: str, size: int = 64, preamble: bool = True) -> bytes:
    """A DICOM image of a storage class."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = kind, generate_uid(entropy_srcs=["image"]), "MR"
    data.Rows, data.Columns, data.BitsAllocated = size, size, 16
    data.PixelData = bytes(2 * size * size)
    data["PixelData"].VR = "OW"
    stream = io.BytesIO()
    if preamble:
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(stream, enforce_file_format=True)
    else:
        dcmwrite(stream, data, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return stream.getvalue()


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("1.dcm", image("1.2.840.10008.5.1.4.1.1.4"))
    return stream.getvalue()


def nifti() -> bytes:
    return nibabel.Nifti1Image(np.zeros((4, 4, 4, 4), np.int16), np.eye(4)).to_bytes()


MR, ENHANCED, US = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("4", "4.1", "3.1"))
SCANS = {
    "an MR image": (lambda c: image(MR), "'MR Image', not an ECG"),
    "a large MR image": (lambda c: image(MR, 2048), "'MR Image', not an ECG"),
    "an MR image without preamble": (lambda c: image(MR, preamble=False), "'MR Image', not an ECG"),
    "an enhanced MR image": (lambda c: image(ENHANCED), "'Enhanced MR Image', not an ECG"),
    "an ultrasound cine": (lambda c: image(US), "Ultrasound Multi-frame Image', not an ECG"),
    "a zip archive": (lambda c: archive(), "a zip archive"),
    "a NIfTI": (lambda c: nifti(), "a NIfTI image"),
    "a packed NIfTI": (lambda c: gzip.compress(nifti()), "a gzip archive"),
}  # fmt: skip
OTHERS = {
    "a deflated DICOM": (
        lambda c: dicom_file([group(c)], syntax=DeflatedExplicitVRLittleEndian), "'Deflated Explicit VR Little Endian'",
    ),
    "an ambulatory ECG": (lambda c: dicom_file([group(c)], kind="3"), "'Ambulatory ECG Waveform'"),
    "a PDF": (lambda c: b"%PDF-1.4 ...", "a PDF"),
    "a picture": (lambda c: b"\x89PNG\r\n\x1a\n" + bytes(50), "a picture"),
    "SCP-ECG": (lambda c: bytes(16) + b"SCPECG" + bytes(100), "SCP-ECG"),
    "EDF": (lambda c: b"0       " + b" " * 248, "an EDF file"),
    "another XML": (lambda c: b"<AnnotatedECG/>", "'AnnotatedECG'; only CardiologyXML and RestingECG are read"),
    "broken XML": (lambda c: b"<CardiologyXML><a></CardiologyXML>", "the XML is broken: mismatched tag"),
    "text": (lambda c: b"Hello", "neither XML, nor DICOM, nor a PhysioNet header"),
    "an empty file": (lambda c: b"", "the file is empty"),
}  # fmt: skip


def said(path):
    with pytest.raises(CofError) as caught:
        read_ecg(path)
    return caught.value


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("suffix", [".xml", ".dcm"])
def test_a_scan_in_place_of_an_ecg_is_called_one(tmp_path, counts, name, suffix):
    content, words = SCANS[name]
    path = tmp_path / f"ecg{suffix}"
    path.write_bytes(content(counts))
    error = said(path)
    assert error.reason == Reason.ECG_UNREADABLE
    assert words in str(error)
    assert "give it as the scan" in str(error)


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_named(tmp_path, counts, name):
    content, words = OTHERS[name]
    path = tmp_path / "ecg.xml"
    path.write_bytes(content(counts))
    error = said(path)
    assert error.reason == Reason.ECG_UNREADABLE
    assert words in str(error)


def test_big_endian_files_are_named(tmp_path, counts):
    data = dicom_file([group(counts)])
    path = tmp_path / "ecg.dcm"
    path.write_bytes(
        data.replace(str(ExplicitVRLittleEndian).encode() + b"\0", str(ExplicitVRBigEndian).encode() + b"\0", 1)
    )
    assert "convert the file to Explicit VR Little Endian" in str(said(path))


def test_a_folder_and_the_samples_of_a_record_are_named(tmp_path):
    assert "a folder" in str(said(tmp_path))
    (tmp_path / "a.hea").write_text("a 12 500 5000\n")
    (tmp_path / "a.dat").write_bytes(bytes(100))
    assert "give its header" in str(said(tmp_path / "a.dat"))
