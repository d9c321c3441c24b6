import json
import logging

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_model
from scipy.ndimage import map_coordinates

from cof.cli import main
from cof.config.motion import RegistrationSettings
from cof.motion.register import find_moving, lps_vectors
from cof.motion.stage import SETTINGS, WEIGHTS
from cof.motion.toppr import Toppr

SHAPE = (8, 60, 56)  # z, y, x
SPACING = (10.0, 1.8, 1.8)
GRID = (6, 16, 16)
GRID_SPACING = (10.0, 3.6, 3.6)
SHIFT_MM = (0.0, 3.6, -5.4)  # whole voxels, z y x


def _affine(flipped: bool = False) -> np.ndarray:
    """An oblique stack; its slices run towards the apex, or away from it."""
    tilt, turn = np.deg2rad(35.0), np.deg2rad(20.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([-1.0, 1.0, 1.0 if flipped else -1.0]) @ np.diag(SPACING[::-1])
    affine[:3, 3] = (30.0, -70.0, 15.0)
    return affine


def _save(path, volume, affine):
    nib.save(nib.Nifti1Image(np.ascontiguousarray(volume.transpose(*reversed(range(volume.ndim)))), affine), path)
    return path


def _weights(folder, bias=SHIFT_MM, std=0.0):
    """A trained registration whose field is a constant, plus noise of a size."""
    settings = RegistrationSettings(channels=(4, 8), max_field="none")
    torch.manual_seed(0)
    network = Toppr.of(settings, GRID_SPACING)
    torch.nn.init.normal_(network.head.weight, std=std) if std else torch.nn.init.zeros_(network.head.weight)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor(bias))
    folder.mkdir()
    save_model(network, str(folder / WEIGHTS))
    record = {"settings": settings.model_dump(mode="json"), "shape": GRID, "spacing_mm": GRID_SPACING}
    (folder / SETTINGS).write_text(json.dumps(record))
    return folder


def _image(seed=0):
    """Smooth in-plane texture that differs from slice to slice."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij")
    waves = [np.sin(a * y + b * x + c * z) for a, b, c in rng.uniform(0.05, 0.4, (6, 3))]
    return (500 + 80 * sum(waves)).astype(np.float32)


@pytest.fixture
def scan(tmp_path):
    moving = _image()
    return {
        "moving": _save(tmp_path / "moving.nii.gz", moving, _affine()),
        "fixed": _save(tmp_path / "fixed.nii.gz", np.roll(moving, (-2, 3), axis=(1, 2)), _affine()),
        "weights": _weights(tmp_path / "toppr"),
        "out": tmp_path / "out",
    }


def _register(scan, *more, expect=0, capsys=None):
    arguments = ["register", str(scan["fixed"]), str(scan["moving"]), "--weights", str(scan["weights"])]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--out", str(scan["out"]), "--overwrite", *(str(item) for item in more)])
    assert (done.value.code or 0) == expect
    return capsys.readouterr().err if capsys else ""


def _voxels(path):
    return np.asarray(nib.load(path).dataobj).transpose(*reversed(range(nib.load(path).ndim)))


def test_a_known_shift_in_millimetres(scan):
    _register(scan, "--centre", 28, 30, 4)
    record = json.loads((scan["out"] / "registration.json").read_text())
    image = nib.load(scan["out"] / "displacement.nii.gz")
    assert image.shape == (*SHAPE[::-1], 1, 3)
    assert image.header.get_intent()[0] == "vector"
    np.testing.assert_allclose(image.affine, _affine(), atol=1e-4)
    # The vector in LPS, by the columns of the affine alone.
    rotation = _affine()[:3, :3] / np.array(SPACING[::-1])
    expected = np.diag([-1, -1, 1]) @ rotation @ np.array(SHIFT_MM[::-1])
    np.testing.assert_allclose(image.get_fdata()[28, 30, 4, 0], expected, atol=1e-3)
    assert (image.get_fdata()[0, 0] == 0).all()
    # x -> x + u with whole-voxel u: MOVING two rows further and three columns back, in the middle of the crop.
    warped, fixed = _voxels(scan["out"] / "warped.nii.gz"), _voxels(scan["fixed"])
    middle = np.s_[2:7, 24:36, 22:34]
    np.testing.assert_allclose(warped[middle], fixed[middle], atol=0.05)
    np.testing.assert_allclose(_voxels(scan["out"] / "jacobian.nii.gz")[middle], 1, atol=1e-3)
    assert record["measures"]["ncc_after"] > record["measures"]["ncc_before"]
    assert record["measures"]["max_displacement_mm"] == pytest.approx(np.linalg.norm(SHIFT_MM), abs=0.01)
    assert record["centred_by"] == "centre"
    assert record["centre_voxel_xyz"][:2] == [28, 30]
    assert "LPS" in record["convention"]


@pytest.mark.parametrize("flipped", [False, True])
def test_itk_applies_the_displacement_as_we_do(tmp_path, flipped):
    moving = _save(tmp_path / "moving.nii.gz", _image(), _affine(flipped))
    fixed = _save(tmp_path / "fixed.nii.gz", _image(1), _affine(flipped))
    scan = {"moving": moving, "fixed": fixed, "out": tmp_path / "out"}
    _register(scan | {"weights": _weights(tmp_path / "toppr", (4.0, 2.0, -3.0), std=0.3)})
    field = sitk.ReadImage(str(tmp_path / "out" / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    assert field.GetSize() == SHAPE[::-1]
    transform = sitk.DisplacementFieldTransform(field)
    seen = sitk.Resample(
        sitk.ReadImage(str(moving)), sitk.ReadImage(str(fixed)), transform, sitk.sitkLinear, float("nan")
    )
    theirs, ours = sitk.GetArrayFromImage(seen), _voxels(tmp_path / "out" / "warped.nii.gz")
    known = np.isfinite(theirs)  # beyond the stack ITK sees nothing
    assert known.mean() > 0.8
    np.testing.assert_allclose(ours[known], theirs[known], atol=0.05)
    still = _voxels(moving)
    assert np.abs(ours - still)[known].max() > 100


@pytest.mark.parametrize(
    "stored",
    [
        _affine(),
        np.round(_affine(), 2),  # axes at right angles but for .3 degrees, which ITK reads by the qform alone
        np.diag([-1.8, -1.8, 10.0, 1.0]),
    ],
)
def test_itk_reads_the_displacement_of_any_header_that_is_let_in(scan, stored):
    volume = _image()
    files = {name: _save(scan["out"].parent / f"{name}.nii", volume, stored) for name in ("fixed", "moving")}
    _register(scan | files, "--force")
    field = sitk.ReadImage(str(scan["out"] / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    for index in ((0, 0, 0), (55, 0, 7), (20, 59, 3)):
        place = np.array(field.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        np.testing.assert_allclose(place, (stored @ [*index, 1])[:3], atol=0.3)
    vector = np.array(field[28, 30, 4]) * [-1, -1, 1]
    units = stored[:3, :3] / np.linalg.norm(stored[:3, :3], axis=0)
    np.testing.assert_allclose(vector, units @ SHIFT_MM[::-1], atol=0.03)


def test_a_unit_sform_beside_real_pixdim_is_registered_as_itk_sees_it(scan, tmp_path, caplog):
    paths = {}
    for name in ("fixed", "moving"):
        path = _save(tmp_path / f"{name}.nii", _image(), np.diag([-1.0, -1.0, 1.0, 1.0]))
        content = bytearray(path.read_bytes())
        content[80:92] = np.array(SPACING[::-1], "<f4").tobytes()  # pixdim
        path.write_bytes(content)
        paths[name] = path
    _register(scan | paths, "--force")
    theirs, ours = (sitk.ReadImage(str(path)) for path in (paths["fixed"], scan["out"] / "warped.nii.gz"))
    np.testing.assert_allclose(ours.GetSpacing(), theirs.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-4)
    said = " ".join(record.message for record in caplog.records)
    assert "FIXED: the header's sform" in said
    assert "FIXED: no orientation in the header" in said


def test_slices_from_apex_to_base_give_the_same_motion(tmp_path):
    weights = _weights(tmp_path / "toppr", (4.0, 2.0, -3.0), std=0.3)
    found = []
    for flipped in (False, True):
        turn = np.s_[::-1] if flipped else np.s_[:]
        affine = _affine(False)
        if flipped:  # the same voxels in space, stored the other way round
            affine[:3, 3] += affine[:3, 2] * (SHAPE[0] - 1)
            affine[:3, 2] *= -1
        scan = {
            "moving": _save(tmp_path / f"moving{flipped}.nii.gz", _image()[turn], affine),
            "fixed": _save(tmp_path / f"fixed{flipped}.nii.gz", _image(1)[turn], affine),
            "weights": weights,
            "out": tmp_path / f"out{flipped}",
        }
        _register(scan, "--centre", 28, 30, 3 if not flipped else SHAPE[0] - 4)
        found.append(_voxels(scan["out"] / "displacement.nii.gz")[..., turn, :, :])
    assert np.abs(found[0]).max() > 1
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_moving_in_another_order_of_axes_is_brought_onto_fixed(scan, tmp_path):
    _register(scan)
    expected = _voxels(scan["out"] / "warped.nii.gz")
    volume, affine = _voxels(scan["moving"]), _affine()
    mirrored = affine.copy()
    mirrored[:3, 3] += affine[:3, 0] * (SHAPE[2] - 1)
    mirrored[:3, 0] *= -1
    other = _save(tmp_path / "mirrored.nii.gz", volume[..., ::-1], mirrored)
    _register(scan | {"moving": other})
    np.testing.assert_allclose(_voxels(scan["out"] / "warped.nii.gz"), expected, atol=1e-3)


def test_frames_of_a_cine_are_chosen(scan, tmp_path):
    _register(scan)
    expected = _voxels(scan["out"] / "displacement.nii.gz")
    cine = np.stack([_voxels(scan["moving"]), _image(5), _voxels(scan["fixed"])])
    path = _save(tmp_path / "cine.nii", cine, _affine())
    _register(scan | {"fixed": path, "moving": path}, "--fixed-frame", 2, "--moving-frame", 0)
    np.testing.assert_array_equal(_voxels(scan["out"] / "displacement.nii.gz"), expected)


def test_labels_tell_the_centre_and_nothing_tells_the_middle_with_a_warning(scan, tmp_path, caplog):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 35:38, 20:23] = 2
    labels[2:5, 36, 21] = 1
    path = _save(tmp_path / "labels.nii.gz", labels, _affine())
    with caplog.at_level(logging.WARNING):
        _register(scan, "--labels", path)
        assert not [one for one in caplog.records if "middle" in one.message]
        record = json.loads((scan["out"] / "registration.json").read_text())
        assert (record["centred_by"], record["centre_voxel_xyz"][:2]) == ("labels", [21, 36])
        _register(scan)
    assert [one for one in caplog.records if "middle of the stack" in one.message]
    record = json.loads((scan["out"] / "registration.json").read_text())
    assert (record["centred_by"], record["centre_voxel_xyz"][:2]) == ("middle", [27.5, 29.5])


def test_labels_of_a_scaling_tell_the_same_centre(scan, tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 35:38, 20:23] = 1
    centres = []
    for values in (labels, labels * np.float32(1.0000153)):
        _register(scan, "--labels", _save(tmp_path / "labels.nii", values, _affine()))
        centres.append(json.loads((scan["out"] / "registration.json").read_text())["centre_voxel_xyz"])
    assert centres[0] == centres[1]


def test_refinement_makes_the_images_agree_better(scan, tmp_path):
    scan = scan | {"weights": _weights(tmp_path / "still", (0.0, 0.0, 0.0))}
    agreement = []
    for steps in (0, 20):
        _register(scan, "--refine", steps)
        agreement.append(json.loads((scan["out"] / "registration.json").read_text())["measures"]["ncc_after"])
    assert agreement[1] > agreement[0] + 0.1


def test_a_refinement_by_labels_asks_the_labeller(scan, tmp_path, monkeypatch, capsys):
    """Two images without any texture, in which a labeller sees a block that moves as the fixed one is shifted."""
    block = np.zeros(SHAPE, np.uint8)
    block[2:6, 20:40, 16:36] = 2
    block[2:6, 25:35, 21:31] = 1
    seen = {4: block, 3: np.roll(block, (-2, 3), axis=(1, 2))}

    class Known:
        @classmethod
        def load(cls, folder, mirroring):
            return cls()

        def label(self, frames, spacing_mm):
            return np.stack([seen[int(frame.max())] for frame in frames])

    monkeypatch.setattr("cof.labels.predict.Labeller", Known)
    flat = np.ones(SHAPE, np.float32) * np.linspace(0, 1, SHAPE[0], dtype=np.float32)[:, None, None]
    for name, bright in (("moving", 4), ("fixed", 3)):
        _save(scan[name], bright * flat, _affine())
    scan = scan | {"weights": _weights(tmp_path / "still", (0.0, 0.0, 0.0))}
    by_labels = ("--refine", 40, "--refine-labels", 1, "--centre", 26, 30, 3)
    assert "--labeller" in _register(scan, *by_labels, expect=2, capsys=capsys)
    (tmp_path / "labeller").mkdir()
    (tmp_path / "labeller/labeller.json").touch()
    monkeypatch.setattr("cof.motion.register._beside", lambda weights: tmp_path / "labeller")
    overlap = {}
    for name, more in (("none", ("--refine", 0, "--centre", 26, 30, 3)), ("labels", by_labels)):
        _register(scan, *more, "--force")
        vectors = nib.load(scan["out"] / "displacement.nii.gz").get_fdata()[:, :, :, 0]
        axes = _affine()[:3, :3] / np.linalg.norm(_affine()[:3, :3], axis=0)
        along = np.einsum("xyzc,ci->xyzi", vectors @ np.diag([-1.0, -1.0, 1.0]), axes).transpose(3, 2, 1, 0)[::-1]
        at = [index + d / step for index, d, step in zip(np.indices(SHAPE), along, SPACING)]
        moved = map_coordinates((block > 0).astype(float), at, order=1) > 0.5
        overlap[name] = 2 * (moved & (seen[3] > 0)).sum() / (moved.sum() + (seen[3] > 0).sum())
    assert overlap["none"] < 0.8
    assert overlap["labels"] > 0.9


def _shifted(affine):
    other = affine.copy()
    other[:3, 3] += 5
    return other


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "there is no MOVING"),
        ("shape", "do not lie on the same voxels"),
        ("affine", "do not lie on the same voxels"),
        ("flat", "the NIfTI has 2 axes"),
        ("slice", "single slice"),
        ("nan", "not finite"),
        ("constant", "all intensities of MOVING are the same"),
        ("frames", "choose one with --moving-frame"),
        ("no_frame", "has no frame 3"),
        ("text", "not a readable NIfTI"),
        ("weights", "not a trained registration"),
        ("outside", "lies outside of FIXED"),
        ("twice", "give the centre once"),
        ("empty_labels", "no left ventricle"),
        ("other_labels", "labels do not lie on the voxels"),
        ("half_labels", "labels are whole numbers"),
        ("sheared", "20.0 degrees from right angles"),
        ("turned", "slices of FIXED do not lie along its third axis"),
    ],
)
def test_bad_input_is_one_clear_line(scan, tmp_path, capsys, fault, message):
    volume, more = _image(), []
    path = tmp_path / "bad.nii.gz"
    if fault == "missing":
        path = tmp_path / "nowhere.nii"
    elif fault == "shape":
        _save(path, volume[:, 2:], _affine())
    elif fault == "affine":
        _save(path, volume, _shifted(_affine()))
    elif fault == "flat":
        _save(path, volume[0], _affine())
    elif fault == "slice":
        scan = scan | {"fixed": _save(tmp_path / "one.nii", volume[:1], _affine())}
        _save(path, volume[:1], _affine())
    elif fault == "nan":
        volume[3, 4, 5] = np.nan
        _save(path, volume, _affine())
    elif fault == "constant":
        _save(path, np.full(SHAPE, 7, np.float32), _affine())
    elif fault in ("frames", "no_frame"):
        _save(path, np.stack([volume] * 3), _affine())
        more = ["--moving-frame", 3] if fault == "no_frame" else []
    elif fault == "text":
        path.write_text("no image")
    elif fault in ("sheared", "turned"):
        affine = _affine()
        affine[:3, 2] += np.tan(np.radians(20)) * SPACING[0] * affine[:3, 0] / SPACING[2]
        _save(path, *((volume, affine) if fault == "sheared" else (volume.swapaxes(0, 1), _affine()[:, [0, 2, 1, 3]])))
        scan = scan | {"fixed": path}
    else:
        _save(path, volume, _affine())
        more = {
            "weights": ["--weights", tmp_path],
            "outside": ["--centre", 99, 3, 3],
            "twice": ["--centre", 9, 3, 3, "--labels", path],
            "empty_labels": ["--labels", _save(tmp_path / "l.nii", np.zeros(SHAPE, np.uint8), _affine())],
            "half_labels": ["--labels", _save(tmp_path / "h.nii", np.full(SHAPE, 0.5, np.float32), _affine())],
            "other_labels": ["--labels", _save(tmp_path / "m.nii", np.ones(SHAPE, np.uint8), _shifted(_affine()))],
        }[fault]
    said = _register(scan | {"moving": path}, *more, expect=2, capsys=capsys)
    assert message in said
    assert "Traceback" not in said
    assert not scan["out"].exists()


def test_vectors_of_an_axial_stack():
    u = np.stack([np.full((2, 2, 2), value) for value in (1.0, 2.0, 3.0)])  # z, y, x
    ras = lps_vectors(u, np.diag([1.8, 1.8, 10.0, 1.0]))
    lps = lps_vectors(u, np.diag([-1.8, -1.8, 10.0, 1.0]))
    assert ras[:, 0, 0, 0].tolist() == [-3, -2, 1]
    assert lps[:, 0, 0, 0].tolist() == [3, 2, 1]


OFF_CENTRE = (3.5, 18.0, 40.0)  # z y x: 21 and 22 mm from the middle of the plane, as far as these small images go
WIDE = (8, 96, 90)


def _heart(radius_mm, centre=OFF_CENTRE, shape=WIDE):
    """A bright pool in a dark wall, in a body whose texture stands still, and a vessel that beats beside it."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    body = 300 + 60 * np.sin(0.3 * y + 0.1 * z) * np.sin(0.25 * x) + rng.normal(0, 4, shape)
    away = np.hypot(y - centre[1], x - centre[2]) * SPACING[1]
    heart = np.where(away < radius_mm, 600, np.where(away < radius_mm + 10, 100, body))
    vessel = np.hypot(y - 80, x - 70) * SPACING[1] < 7
    return np.where(vessel, 500 + 10 * radius_mm, heart).astype(np.float32)


def _off_centre(folder, **changed):
    """The files of a heart far from the middle, at ED and ES."""
    files = {
        "moving": _save(folder / "ed.nii.gz", _heart(28), _affine()),
        "fixed": _save(folder / "es.nii.gz", _heart(20), _affine()),
        "weights": _weights(folder / "toppr", (0.0, 0.0, 0.0)),
        "out": folder / "out",
    }
    return files | changed


def _record(scan):
    return json.loads((scan["out"] / "registration.json").read_text())


def _off_by_mm(record, centre=OFF_CENTRE):
    x, y, _ = record["centre_voxel_xyz"]
    return np.hypot(y - centre[1], x - centre[2]) * SPACING[1]


@pytest.mark.parametrize("flipped", [False, True])
def test_a_heart_far_from_the_middle_is_found_by_what_moves(tmp_path, flipped, caplog):
    scan = _off_centre(
        tmp_path,
        moving=_save(tmp_path / "a.nii.gz", _heart(28), _affine(flipped)),
        fixed=_save(tmp_path / "b.nii.gz", _heart(20), _affine(flipped)),
    )
    _register(scan)
    record = _record(scan)
    assert record["centred_by"] == "motion"
    assert _off_by_mm(record) < 8
    middle = np.hypot(OFF_CENTRE[1] - 47.5, OFF_CENTRE[2] - 44.5) * SPACING[1]
    assert middle > 50
    assert [one for one in caplog.records if "where most moves" in one.message]


def test_a_cine_tells_by_all_its_frames_what_moves(tmp_path):
    # ED and the frame after it hardly differ; the cycle does.
    cine = np.stack([_heart(radius) for radius in (28, 28, 24, 20, 22, 26)])
    path = _save(tmp_path / "cine.nii.gz", cine, _affine())
    scan = _off_centre(tmp_path, fixed=path, moving=path)
    _register(scan, "--fixed-frame", 1, "--moving-frame", 0)
    assert _record(scan)["centred_by"] == "motion"
    assert _off_by_mm(_record(scan)) < 8


def test_nothing_moves_where_all_changes_alike():
    assert find_moving(np.zeros(WIDE, np.float32), SPACING) is None
    assert find_moving(np.random.default_rng(0).uniform(90, 110, WIDE).astype(np.float32), SPACING) is None


def test_a_labeller_beside_the_weights_finds_the_heart(tmp_path, monkeypatch, caplog):
    asked = []

    class Known:
        @classmethod
        def load(cls, folder, mirroring):
            asked.append(folder)
            return cls()

        def label(self, frames, spacing_mm):
            return np.where(frames > 550, 1, np.where(frames < 150, 2, 0)).astype(np.uint8) * self.sees

    monkeypatch.setattr("cof.labels.predict.Labeller", Known)
    results = tmp_path / "results"
    (results / "registrations").mkdir(parents=True)
    (results / "labeller").mkdir()
    (results / "labeller/labeller.json").touch()
    scan = _off_centre(tmp_path, weights=_weights(results / "registrations/toppr", (0.0, 0.0, 0.0)))
    for sees, found_by in ((1, "labeller"), (0, "motion")):
        Known.sees = sees
        _register(scan)
        assert _record(scan)["centred_by"] == found_by
        assert _off_by_mm(_record(scan)) < 40
    assert asked == [results / "labeller"] * 2
    assert [one for one in caplog.records if "does not find the heart" in one.message]


def test_a_registration_that_is_worse_than_none_is_refused(scan, tmp_path, capsys):
    away = tuple(-one for one in SHIFT_MM)  # the right way round it would bring them into agreement
    scan = scan | {"weights": _weights(tmp_path / "away", away)}
    said = _register(scan, "--centre", 28, 30, 4, expect=2, capsys=capsys)
    assert "worse than no registration" in said
    assert "--force" in said
    assert "within 58 x 58 x 60 mm around voxel 28 30" in said
    assert not scan["out"].exists()
    _register(scan, "--centre", 28, 30, 4, "--force")
    record = _record(scan)
    assert record["worse_than_none"]
    assert record["measures"]["ncc_after"] < record["measures"]["ncc_before"]
    for name in ("before", "after"):
        assert f"{record['measures'][f'ncc_{name}']:.3f} {name}" in said
    assert "WORSE THAN NO REGISTRATION" in capsys.readouterr().err


def test_no_motion_is_no_worse_than_none(scan, tmp_path):
    scan = scan | {"weights": _weights(tmp_path / "still", (0.0, 0.0, 0.0)), "fixed": scan["moving"]}
    _register(scan)
    assert not _record(scan)["worse_than_none"]


def test_models_and_registrations_that_are_exchanged_are_told(scan, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.safetensors").touch()
    (tmp_path / "model/settings.json").write_text(json.dumps({"settings": {"family": "cof"}}))
    said = _register(scan | {"weights": tmp_path / "model"}, expect=2, capsys=capsys)
    assert f"{tmp_path / 'model'} is a trained model, not a trained registration" in said
    said = _register(scan | {"weights": tmp_path / "topr"}, expect=2, capsys=capsys)
    assert f"{tmp_path / 'topr'} is not a trained registration; {tmp_path} has model, toppr" in said
