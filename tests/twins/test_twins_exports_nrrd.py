"""Volume sequences for 3D Slicer: SimpleITK finds the same voxels at the same places."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from small_heart import FRAMES, RR_MS, small_heart, untimed

from cof.privacy import check_paths
from cof.twins.exports import nrrd
from cof.twins.exports.heart import SYNTHETIC, Heart


@pytest.fixture(scope="module")
def heart() -> Heart:
    return small_heart(-900)


@pytest.fixture
def folder(heart: Heart, tmp_path: Path) -> Path:
    assert [path.name for path in nrrd.write(heart, tmp_path)] == ["twin.seq.nrrd", "twin.labels.seq.nrrd"]
    return tmp_path


def header_of(path: Path) -> list[str]:
    return path.read_bytes().partition(b"\n\n")[0].decode().splitlines()


@pytest.mark.parametrize("name", ["twin", "twin.labels"])
def test_simpleitk_finds_voxels_and_geometry(name: str, heart: Heart, folder: Path) -> None:
    image = sitk.ReadImage(str(folder / f"{name}.seq.nrrd"))
    values = heart.cine.frames if name == "twin" else heart.labels
    assert image.GetNumberOfComponentsPerPixel() == FRAMES
    np.testing.assert_array_equal(np.moveaxis(sitk.GetArrayFromImage(image), -1, 0), values)
    to_ras = np.diag([-1.0, -1.0, 1.0])
    axes = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    np.testing.assert_allclose(to_ras @ axes, heart.affine[:3, :3], atol=1e-12)
    np.testing.assert_allclose(to_ras @ image.GetOrigin(), heart.affine[:3, 3], atol=1e-12)
    times = [float(time) for time in image.GetMetaData("axis 0 index values").split()]
    np.testing.assert_allclose(times, np.arange(FRAMES) * RR_MS / FRAMES, atol=1e-3)


def test_the_header_has_the_fields_that_slicer_reads(folder: Path) -> None:
    fields = header_of(folder / "twin.seq.nrrd")
    for field in (
        "NRRD0005", "type: int16", "dimension: 4", "space: left-posterior-superior", "kinds: list domain domain domain",
        'labels: "time" "" "" ""', 'units: "ms" "" "" ""', "axis 0 index type:=numeric",
        "DataNodeClassName:=vtkMRMLScalarVolumeNode", f"content: {SYNTHETIC}",
    ):  # fmt: skip
        assert field in fields
    assert any(field.startswith("notices:=") and field.endswith("“others”") for field in fields)
    assert any(field.startswith("space directions: none (") for field in fields)
    assert "DataNodeClassName:=vtkMRMLLabelMapVolumeNode" in header_of(folder / "twin.labels.seq.nrrd")


def test_a_cycle_of_unknown_duration_is_indexed_by_frame(heart: Heart, tmp_path: Path) -> None:
    path, _ = nrrd.write(untimed(heart), tmp_path)
    assert {'labels: "frame" "" "" ""', 'units: "" "" "" ""', "axis 0 index values:=0 1 2 3"} <= set(header_of(path))


def test_the_same_heart_has_the_same_bytes(heart: Heart, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    for path in nrrd.write(heart, tmp_path / "again"):
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_privacy_reads_the_header_and_not_the_voxels(folder: Path) -> None:
    identity = str(2 * 10**6 + 345678)
    assert list(check_paths([folder])) == []
    path = folder / "twin.seq.nrrd"
    header, _, packed = path.read_bytes().partition(b"\n\n")
    path.write_bytes(header + b"\n\n" + packed + f"a{identity}a".encode())
    assert list(check_paths([folder])) == []
    path.write_bytes(header + f"\n# of {identity}\n\n".encode() + packed)
    assert len(list(check_paths([folder]))) == 1
    as_text = header.replace(b"encoding: gzip", b"encoding: text")
    path.write_bytes(as_text + f"\n\n0 {identity} 0\n".encode() + gzip.compress(b""))
    assert len(list(check_paths([folder]))) == 1
