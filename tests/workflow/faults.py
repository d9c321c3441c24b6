"""The faults that the matrix puts into a raw cohort, each with the exclusion that it must become.

`python tests/workflow/faults.py` prints the table of docs/reference/faults.md.
"""

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Fault:
    """One corruption of one subject's files.

    Attributes:
        name: of the subject, so that its exclusion names the fault.
        base: the healthy file that is copied and broken: ecg, wfdb, cine (zip), nifti, annotation or anchor.
        what: in words.
        change: breaks the copy.
        stage: that notices; empty if the fault is repaired and the subject stays.
        reason: code of the exclusion.
        cells: of the sheet, in place of the healthy ones.
    """

    name: str
    base: str
    what: str
    change: Change
    stage: str
    reason: str
    cells: tuple[tuple[str, str], ...] = ()


# Any file


def untouched(path: Path) -> None:
    """The fault is in the sheet alone."""


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(20_000))


def web_page(path: Path) -> None:
    path.write_text("<html><body>Your session has expired.</body></html>")


def garble(path: Path) -> None:
    """Other bytes in the middle, the length unchanged."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(byte ^ 0xA5 for byte in content[middle : middle + 400])
    path.write_bytes(content)


# ECG


def in_strip(path: Path, pattern: bytes, new: bytes, count: int = 1) -> None:
    """Replace a pattern in the rhythm strip (behind the median beats, which look alike)."""
    head, mark, strip = path.read_bytes().partition(b"<StripData>")
    strip, found = re.subn(pattern, new, strip, count=count, flags=re.DOTALL)
    assert found, "the strip has what is to be broken"
    path.write_bytes(head + mark + strip)


def in_file(path: Path, pattern: bytes, new: bytes) -> None:
    content, found = re.subn(pattern, new, path.read_bytes(), flags=re.DOTALL)
    assert found, "the file has what is to be broken"
    path.write_bytes(content)


def leads(path: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Pass the counts of the strip's leads through `change`, and announce the length that comes out."""
    head, mark, strip = path.read_bytes().partition(b"<StripData>")
    form = re.compile(rb'(<WaveformData lead="(\w+)">)([^<]*)')
    counts = {match[2].decode(): np.array(match[3].split(b","), int) for match in form.finditer(strip)}
    change(counts)
    strip = form.sub(lambda match: match[1] + ",".join(map(str, counts[match[2].decode()])).encode(), strip)
    length = str(len(counts["I"])).encode()
    strip = re.sub(rb"(<ChannelSampleCountTotal[^>]*>)\d+", rb"\g<1>" + length, strip, count=1)
    path.write_bytes(head + mark + strip)


def half_lead(path: Path) -> None:
    in_strip(path, rb'(<WaveformData lead="V5">[^<]{3000})[^<]*', rb"\1")


def two_seconds(counts: dict[str, np.ndarray]) -> None:
    counts.update({name: samples[:1000] for name, samples in counts.items()})


def flat(counts: dict[str, np.ndarray]) -> None:
    counts["V1"][:] = 0


def exchanged(counts: dict[str, np.ndarray]) -> None:
    counts["II"], counts["V5"] = counts["V5"], counts["II"]


def hiss(counts: dict[str, np.ndarray]) -> None:
    """Consistent leads without a heart beat."""
    rng = np.random.default_rng(0)
    for name in counts:
        counts[name] = rng.normal(0, 20, len(counts[name])).astype(int)
    one, two = counts["I"], counts["II"]
    counts |= {"III": two - one, "aVR": -(one + two) // 2, "aVL": one - two // 2, "aVF": two - one // 2}


def entities(path: Path) -> None:
    path.write_bytes(
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        b"<CardiologyXML><UID>&b;&b;</UID></CardiologyXML>"
    )


def external_entity(path: Path) -> None:
    path.write_bytes(
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
        b"<CardiologyXML><UID>&a;</UID></CardiologyXML>"
    )


def nested(path: Path) -> None:
    path.write_bytes(b"<CardiologyXML>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</CardiologyXML>")


def oversized(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" " * (33 * 2**20))


def says(path: Path, statement: bytes) -> None:
    in_file(path, rb"(<(DiagnosisText|ConclusionText)>)[^<]*", rb"\g<1>" + statement)


def without_samples(path: Path) -> None:
    path.with_suffix(".dat").unlink()


# Archives and DICOM


def unpacked(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def images(path: Path, change: Callable[[pydicom.Dataset], bool | None]) -> None:
    """Pass every DICOM file of an archive through `change`; False leaves it out."""
    members = {}
    for name, content in unpacked(path).items():
        if name.endswith(".dcm"):
            image = pydicom.dcmread(io.BytesIO(content))
            if change(image) is False:
                continue
            buffer = io.BytesIO()
            image.save_as(buffer)
            content = buffer.getvalue()
        members[name] = content
    pack(path, members)


def slices(path: Path, keep: str) -> None:
    images(path, lambda image: bool(re.search(rf"_b({keep})$", image.SeriesDescription)))


def frames(path: Path, keep: range, of_slices: str = r"\d+") -> None:
    images(
        path,
        lambda image: not re.search(rf"_b({of_slices})$", image.SeriesDescription) or image.InstanceNumber - 1 in keep,
    )


def each(path: Path, **values: object) -> None:
    """Set elements of every image."""

    def change(image: pydicom.Dataset) -> None:
        for tag, value in values.items():
            if value is None:
                delattr(image, tag)
            else:
                setattr(image, tag, value)

    images(path, change)


def raw_element(path: Path, tag: str, text: str) -> None:
    """Every value of a decimal element as a text that pydicom would not write."""

    def change(image: pydicom.Dataset) -> None:
        count = len(image[tag].value)
        with pydicom.config.disable_value_validation():
            image[tag] = pydicom.DataElement(image[tag].tag, "LO", [text] * count)

    images(path, change)


def mixed_spacing(image: pydicom.Dataset) -> None:
    if image.SeriesDescription.endswith("_b2"):
        image.PixelSpacing = [value * 1.5 for value in image.PixelSpacing]


def cut_pixels(image: pydicom.Dataset) -> None:
    image.PixelData = image.PixelData[: len(image.PixelData) // 4 * 2]


def black(image: pydicom.Dataset) -> None:
    image.PixelData = bytes(len(image.PixelData))


def no_order(image: pydicom.Dataset) -> None:
    del image.TriggerTime
    image.InstanceNumber = 1


def long_axis(image: pydicom.Dataset) -> None:
    image.SeriesDescription = "CINE_segmented_LAX_4Ch"


def only_manifest(path: Path) -> None:
    pack(path, {name: content for name, content in unpacked(path).items() if "manifest" in name})


def no_manifest(path: Path) -> None:
    pack(path, {name: content for name, content in unpacked(path).items() if "manifest" not in name})


def lying_manifest(path: Path) -> None:
    lie = b'filename,patientid\nnowhere.dcm,"somebody\n\xff\xfe,,,,,,'
    pack(path, {name: lie if "manifest" in name else content for name, content in unpacked(path).items()})


def surplus(path: Path) -> None:
    pack(path, unpacked(path) | {"report.pdf": b"%PDF", "broken.dcm": b"no image", "__MACOSX/._a.dcm": b"\0"})


def outward(path: Path) -> None:
    pack(path, unpacked(path) | {"../../outside.dcm": b"x"})


def link(path: Path) -> None:
    pack(path, unpacked(path))
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("link.dcm")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")


def encrypted(path: Path) -> None:
    pack(path, unpacked(path))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1
    path.write_bytes(content)


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.dcm", bytes(260 * 2**20))


def folder_with_link(path: Path) -> None:
    members = unpacked(path)
    become_folder(path)
    for name, content in members.items():
        (path / name).write_bytes(content)
    (path / "link.dcm").symlink_to("/etc/passwd")


# NIfTI


def volume(path: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """Pass voxels (x, y, z, t) and affine through `change`."""
    image = nib.load(path, mmap=False)
    voxels, affine = change(np.array(image.dataobj), image.affine.copy())
    new = nib.Nifti1Image(voxels, affine)
    new.header.set_xyzt_units("mm", "msec")
    if voxels.ndim == 4 == image.ndim:
        new.header["pixdim"][4] = image.header["pixdim"][4]
    nib.save(new, path)


def with_nan(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    voxels = voxels.astype(np.float32)
    voxels[3, 3, 1, 1] = np.nan
    return voxels, affine


def header_value(path: Path, offset: int, kind: str, value: float) -> None:
    """Overwrite one field of the NIfTI header."""
    content = bytearray(path.read_bytes())
    new = np.array(value, kind).tobytes()
    content[offset : offset + len(new)] = new
    path.write_bytes(content)


def no_spacing(path: Path) -> None:
    for offset in (280, 284, 288, 296, 300, 304, 312, 316, 320):  # srow_x, srow_y, srow_z
        header_value(path, offset, "<f4", 0)


def sheared(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every slice 4 mm further along the rows: 22 degrees."""
    affine[:3, 2] += 4 * affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    return voxels, affine


def unit_sform(path: Path) -> None:
    """The sform that programs write which know no orientation; the spacing stands in pixdim alone."""
    for offset, row in ((280, (-1, 0, 0, 0)), (296, (0, -1, 0, 0)), (312, (0, 0, 1, 0))):
        for column, value in enumerate(row):
            header_value(path, offset + 4 * column, "<f4", value)


def moved(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    affine[:3, 3] += 40
    return voxels, affine


def infinite(path: Path) -> None:
    header_value(path, 292, "<f4", np.inf)  # srow_x[3]


def other_codes(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.array([0, 3, 2, 1], voxels.dtype)[voxels], affine


def other_values(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return voxels * 85, affine


FAULTS = [
    # ECG
    Fault("ecg-absent", "ecg", "the file is not there", remove, "ecg", "ecg_missing"),
    Fault("ecg-unnamed", "ecg", "the sheet's cell is empty", untouched, "ecg", "ecg_missing", (("ecg", ""),)),
    Fault("ecg-folder", "ecg", "a folder of that name", become_folder, "ecg", "ecg_missing"),
    Fault("ecg-empty", "ecg", "no byte", empty, "ecg", "ecg_unreadable"),
    Fault("ecg-truncated", "ecg", "ends in the middle", truncate, "ecg", "ecg_unreadable"),
    Fault("ecg-noise", "ecg", "random bytes", noise, "ecg", "ecg_unreadable"),
    Fault("ecg-web-page", "ecg", "an HTML page", web_page, "ecg", "ecg_unreadable"),
    Fault("ecg-entities", "ecg", "entities that expand", entities, "ecg", "ecg_unreadable"),
    Fault("ecg-external", "ecg", "an entity that names a local file", external_entity, "ecg", "ecg_unreadable"),
    Fault("ecg-nested", "ecg", "elements 100,000 deep", nested, "ecg", "ecg_unreadable"),
    Fault("ecg-oversized", "ecg", "33 MiB of blanks behind the end", oversized, "ecg", "ecg_unreadable"),
    Fault("ecg-words", "ecg", "words among the samples",
          partial(in_strip, pattern=rb'(<WaveformData lead="V2">)[^<]*', new=rb"\1one,two,three"),
          "ecg", "ecg_unreadable"),
    Fault("ecg-nan", "ecg", "a sample that is `nan`",
          partial(in_strip, pattern=rb'(<WaveformData lead="V2">\s*)-?\d+', new=rb"\1nan"),
          "ecg", "ecg_not_finite|ecg_unreadable"),
    Fault("ecg-no-lead", "ecg", "lead V3 is not there",
          partial(in_strip, pattern=rb'<WaveformData lead="V3">[^<]*</WaveformData>', new=b""),
          "ecg", "ecg_lead_missing"),
    Fault("ecg-other-lead", "ecg", "lead V4 is called V9", partial(in_strip, pattern=rb'lead="V4"', new=b'lead="V9"'),
          "ecg", "ecg_lead_missing"),
    Fault("ecg-two-leads", "ecg", "two leads are called V1", partial(in_strip, pattern=rb'lead="V2"', new=b'lead="V1"'),
          "ecg", "ecg_unreadable"),
    Fault("ecg-half-lead", "ecg", "lead V5 is shorter than the others", half_lead, "ecg", "ecg_unreadable"),
    Fault("ecg-no-rate", "ecg", "no sampling rate",
          partial(in_strip, pattern=rb"<SampleRate[^>]*>\d+</SampleRate>", new=b""), "ecg", "ecg_units"),
    Fault("ecg-zero-rate", "ecg", "a sampling rate of 0",
          partial(in_strip, pattern=rb"(<SampleRate[^>]*>)\d+", new=rb"\g<1>0"), "ecg", "ecg_units"),
    Fault("ecg-unit", "ecg", "amplitudes in an unknown unit",
          partial(in_strip, pattern=rb'"uVperLsb"', new=b'"furlongs"'), "ecg", "ecg_units"),
    Fault("ecg-short", "ecg", "a strip of 2 s", partial(leads, change=two_seconds), "ecg", "ecg_too_short"),
    Fault("ecg-flat", "ecg", "lead V1 is flat", partial(leads, change=flat), "ecg", "ecg_poor_quality"),
    Fault("ecg-exchanged", "ecg", "leads II and V5 are exchanged", partial(leads, change=exchanged),
          "ecg", "ecg_poor_quality"),
    Fault("ecg-poor", "ecg", "the device says poor data quality", partial(says, statement=b"Poor data quality"),
          "ecg", "ecg_poor_quality"),
    Fault("ecg-paced", "ecg", "the device says pacemaker", partial(says, statement=b"Electronic ventricular pacemaker"),
          "ecg", "ecg_poor_quality"),
    Fault("ecg-hiss", "ecg", "noise instead of beats", partial(leads, change=hiss),
          "beats", "beat_none|beat_rate_mismatch"),
    Fault("ecg-rate", "ecg", "a device rate that is not that of the strip",
          partial(in_file, pattern=rb"(<VentricularRate[^>]*>)\d+", new=rb"\g<1>170"), "beats", "beat_rate_mismatch"),
    Fault("wfdb-no-samples", "wfdb", "the header's file of samples is not there", without_samples,
          "ecg", "ecg_missing|ecg_unreadable"),
    Fault("wfdb-header", "wfdb", "a header that is none", web_page, "ecg", "ecg_unreadable"),
    # Cine archive
    Fault("cine-absent", "cine", "the file is not there", remove, "cine", "cine_missing"),
    Fault("cine-empty", "cine", "no byte", empty, "cine", "cine_unreadable"),
    Fault("cine-truncated", "cine", "ends in the middle", truncate, "cine", "cine_unreadable"),
    Fault("cine-garbled", "cine", "other bytes in the middle", garble, "cine", "cine_unreadable"),
    Fault("cine-web-page", "cine", "an HTML page", web_page, "cine", "cine_unreadable"),
    Fault("cine-outward", "cine", "a member that points out of the archive", outward, "cine", "cine_unreadable"),
    Fault("cine-link", "cine", "a member that is a symbolic link", link, "cine", "cine_unreadable"),
    Fault("cine-folder-link", "cine", "a folder with a link out of it", folder_with_link, "cine", "cine_unreadable"),
    Fault("cine-encrypted", "cine", "an encrypted member", encrypted, "cine", "cine_unreadable"),
    Fault("cine-bomb", "cine", "a member that unpacks to 260 MiB", bomb, "cine", "cine_unreadable"),
    Fault("cine-manifest-only", "cine", "no image", only_manifest, "cine", "cine_no_short_axis"),
    Fault("cine-long-axis", "cine", "long-axis series only", partial(images, change=long_axis),
          "cine", "cine_no_short_axis"),
    Fault("cine-three-slices", "cine", "three slices", partial(slices, keep="1|2|3"), "cine", "cine_too_few_slices"),
    Fault("cine-one-slice", "cine", "one slice", partial(slices, keep="3"), "cine", "cine_too_few_slices"),
    Fault("cine-five-frames", "cine", "five frames", partial(frames, keep=range(5)), "cine", "cine_too_few_frames"),
    Fault("cine-poor-slice", "cine", "one slice has half the frames",
          partial(frames, keep=range(5), of_slices="4"), "cine", "cine_too_few_frames"),
    Fault("cine-ed-frame", "cine", "the sheet names an ED frame that is not there", untouched,
          "cine", "cine_too_few_frames", (("ed_frame", "99"),)),
    Fault("cine-gap", "cine", "a slice in the middle is not there", partial(slices, keep="1|2|4|5|6"),
          "cine", "cine_geometry"),
    Fault("cine-nan-spacing", "cine", "a pixel spacing of `nan`",
          partial(raw_element, tag="PixelSpacing", text="nan"), "cine", "cine_geometry"),
    Fault("cine-infinite", "cine", "a position of `inf`", partial(raw_element, tag="ImagePositionPatient", text="inf"),
          "cine", "cine_geometry"),
    Fault("cine-words", "cine", "a position in words", partial(raw_element, tag="ImagePositionPatient", text="here"),
          "cine", "cine_geometry|cine_unreadable"),
    Fault("cine-zero-spacing", "cine", "a pixel spacing of 0", partial(each, PixelSpacing=[0, 0]),
          "cine", "cine_geometry"),
    Fault("cine-absurd-spacing", "cine", "a pixel spacing of 90 mm", partial(each, PixelSpacing=[90, 90]),
          "cine", "cine_geometry"),
    Fault("cine-no-position", "cine", "no positions", partial(each, ImagePositionPatient=None),
          "cine", "cine_geometry"),
    Fault("cine-skewed", "cine", "rows and columns not at right angles",
          partial(each, ImageOrientationPatient=[1, 0, 0, 0.8, 0.6, 0]), "cine", "cine_geometry"),
    Fault("cine-cut-pixels", "cine", "pixel data shorter than the image", partial(images, change=cut_pixels),
          "cine", "cine_unreadable"),
    Fault("cine-absurd-size", "cine", "65,535 rows and columns", partial(each, Rows=65535, Columns=65535),
          "cine", "cine_unreadable"),
    Fault("cine-colour", "cine", "three samples a pixel", partial(each, SamplesPerPixel=3), "cine", "cine_unreadable"),
    Fault("cine-black", "cine", "all pixels are black", partial(images, change=black),
          "cine", "cine_not_finite|cine_unreadable"),
    Fault("cine-no-order", "cine", "neither trigger times nor instance numbers", partial(images, change=no_order),
          "cine", "cine_unreadable"),
    # Cine as NIfTI
    Fault("nifti-truncated", "nifti", "ends in the middle", truncate, "cine", "cine_unreadable"),
    Fault("nifti-web-page", "nifti", "an HTML page", web_page, "cine", "cine_unreadable"),
    Fault("nifti-nan", "nifti", "an intensity of `nan`", partial(volume, change=with_nan), "cine", "cine_not_finite"),
    Fault("nifti-five-axes", "nifti", "five axes", partial(volume, change=lambda v, a: (np.stack([v, v], -1), a)),
          "cine", "cine_unreadable"),
    Fault("nifti-still", "nifti", "a single frame", partial(volume, change=lambda v, a: (v[..., 0], a)),
          "cine", "cine_too_few_frames"),
    Fault("nifti-complex", "nifti", "complex numbers", partial(volume, change=lambda v, a: (v.astype(np.complex64), a)),
          "cine", "cine_unreadable"),
    Fault("nifti-absurd-size", "nifti", "30,000 columns in the header",
          partial(header_value, offset=42, kind="<i2", value=30_000), "cine", "cine_unreadable"),
    Fault("nifti-no-spacing", "nifti", "an affine of zeros", no_spacing, "cine", "cine_geometry"),
    Fault("nifti-infinite", "nifti", "an infinite position", infinite, "cine", "cine_geometry"),
    Fault("nifti-sheared", "nifti", "axes 22 degrees off right angles", partial(volume, change=sheared),
          "cine", "cine_geometry"),
    Fault("nifti-exchanged", "nifti", "frames and slices exchanged",
          partial(volume, change=lambda v, a: (np.ascontiguousarray(v.transpose(0, 1, 3, 2)), a)),
          "cine", "cine_geometry"),
    # Annotation and anchor
    Fault("annotation-absent", "annotation", "the file is not there", remove, "annotations", "annotation_unreadable"),
    Fault("annotation-truncated", "annotation", "ends in the middle", truncate,
          "annotations", "annotation_unreadable"),
    Fault("annotation-values", "annotation", "labels 0, 85, 170, 255", partial(volume, change=other_values),
          "annotations", "annotation_unreadable"),
    Fault("annotation-codes", "annotation", "LV and RV in each other's codes", partial(volume, change=other_codes),
          "annotations", "annotation_codes"),
    Fault("annotation-blurred", "annotation", "labels between whole numbers",
          partial(volume, change=lambda v, a: (v * np.float32(0.75), a)), "annotations", "annotation_unreadable"),
    Fault("annotation-empty", "annotation", "no frame is labelled", partial(volume, change=lambda v, a: (v * 0, a)),
          "annotations", "annotation_unreadable"),
    Fault("annotation-frames", "annotation", "fewer frames than the cine",
          partial(volume, change=lambda v, a: (v[..., :2], a)), "annotations", "annotation_mismatch"),
    Fault("annotation-moved", "annotation", "drawn elsewhere in space", partial(volume, change=moved),
          "annotations", "annotation_mismatch"),
    Fault("annotation-matrix", "annotation", "of another matrix", partial(volume, change=lambda v, a: (v[::2], a)),
          "annotations", "annotation_mismatch"),
    Fault("anchor-moving", "anchor", "an anchor of many frames", untouched, "cine", "anchor_mismatch",
          (("cine", ""), ("split", "test"))),
    Fault("anchor-elsewhere", "anchor", "an anchor that lies beside its cine",
          partial(volume, change=lambda v, a: moved(v[..., 0], a)), "cine", "anchor_mismatch"),
    # Faults that are repaired, with a recorded repair
    Fault("mended-no-manifest", "cine", "no manifest", no_manifest, "", ""),
    Fault("mended-manifest", "cine", "a manifest that lies and is not UTF-8", lying_manifest, "", ""),
    Fault("mended-surplus", "cine", "files that are no images of the cine", surplus, "", ""),
    Fault("mended-spacing", "cine", "one slice of another pixel spacing",
          partial(images, change=mixed_spacing), "", ""),
    Fault("mended-unit-sform", "nifti", "an sform of unit vectors beside the spacing", unit_sform, "", ""),
    Fault("mended-frame", "cine", "a frame is not there", partial(frames, keep=range(9), of_slices="4"), "", ""),
]  # fmt: skip


def table() -> str:
    """The table of docs/reference/faults.md."""
    rows = [
        f"| {fault.base} | {fault.what} | {fault.stage or 'none: the subject stays'} "
        f"| {' or '.join(f'`{code}`' for code in fault.reason.split('|')) if fault.reason else 'repaired'} |"
        for fault in FAULTS
    ]
    return "\n".join(["| file | fault | noticed by | reason |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
