"""A scan that is something else is refused by what it is."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from cof.cine.reader import read_cine_source
from cof.errors import CofError, Reason


def said(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(CofError) as caught:
        read_cine_source(path, 0.1)
    assert caught.value.reason is Reason.CINE_UNREADABLE
    assert "a scan is a zip or folder of DICOM files, or a NIfTI" in str(caught.value)
    return str(caught.value)


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.dcm"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b'<?xml version="1.0"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n<RestingECG></RestingECG>',
            "an ECG (XML)",
        ),
        ("\ufeff<CardiologyXML/>".encode(), "an ECG (XML)"),
        ('<?xml version="1.0" encoding="UTF-16"?><CardiologyXML/>'.encode("utf-16"), "an ECG (XML)"),
        (b"<note/>", "an XML file"),
        (b"<!DOCTYPE html><html>Please log in</html>", "a web page"),
        (b"a1 12 500 5000\na1.dat 16 1000/mV 16 0 0 0 0 I\n", "an ECG (the header of a WFDB record)"),
        (b"", "empty"),
        (b"see the other folder", "a text"),
        (bytes(range(7, 256)) * 9, "of an unknown kind"),
        (b"PK\3\4 and then nothing", "a broken zip archive"),
        (tarred(), "a tar archive"),
        (gzip.compress(tarred(), mtime=0), "a gzip archive"),
        (b"\x1f\x8b\x08\0" + bytes(range(200)), "a gzip archive"),
        (b"Rar!\x1a\7\0", "a RAR archive"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    ],
)
def test_a_file_that_is_no_scan_is_named(tmp_path, content, words):
    assert words in said(tmp_path / "scan.zip", content)


def test_a_nifti_by_name_alone_is_named_too(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"<!DOCTYPE html><html>Please log in</html>")
    with pytest.raises(CofError, match="not a readable NIfTI: the file is a web page"):
        read_cine_source(tmp_path / "a.nii.gz", 0.1)
    with zipfile.ZipFile(tmp_path / "b.nii", "w") as archive:
        archive.writestr("a.dcm", b"")
    with pytest.raises(CofError, match="not a readable NIfTI: the file is a zip archive"):
        read_cine_source(tmp_path / "b.nii", 0.1)


@pytest.mark.parametrize("preamble", [True, False])
def test_a_dicom_ecg_is_named(tmp_path, preamble):
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.9.1.1", generate_uid()
    data.Modality = "ECG"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    if not preamble:
        buffer = io.BytesIO()
        del data.file_meta
        data.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=False)
        content = buffer.getvalue()
    assert "an ECG (a DICOM waveform)" in said(tmp_path / "scan", content)


def test_samples_beside_a_wfdb_header_are_named(tmp_path):
    (tmp_path / "a.hea").write_text("a 12 500 5000\n")
    assert "the samples of a WFDB record" in said(tmp_path / "a.dat", np.arange(500, dtype="<i2").tobytes())


def test_a_lone_dicom_file_is_read_as_one(kit, tmp_path):
    (tmp_path / "a.dcm").write_bytes(kit.encode(kit.images(kit.scan(slices=1, frames=1))[0]))
    with pytest.raises(CofError) as caught:
        read_cine_source(tmp_path / "a.dcm", 0.1)
    assert caught.value.reason is Reason.CINE_TOO_FEW_SLICES


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ecg.xml", b'<?xml version="1.0"?><CardiologyXML></CardiologyXML>', "an ECG"),
        ("cine.nii", bytes(344) + b"n+1\0", "a NIfTI: give the file itself"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        ("a.zip", b"PK\5\6" + bytes(18), "a zip archive"),
    ],
)
def test_a_folder_without_dicom_is_told_by_what_is_in_it(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CofError, match=words):
        read_cine_source(tmp_path, 0.1)


def test_an_empty_folder_is_called_so(tmp_path):
    with pytest.raises(CofError, match="holds no file"):
        read_cine_source(tmp_path, 0.1)
