"""Closed surfaces from labels: known volumes, and a sphere's topology whatever the labels look like."""

import numpy as np
import pytest
import trimesh

from cof.errors import CofError, Reason
from cof.heart.structures import SURFACES
from cof.heart.surfaces import enclosed_ml, surface_of

SHAPE, SPACING = (12, 70, 64), (9.0, 1.4, 1.6)
LV, MUSCLE, RV = 1, 2, 3
FIRST, LAST = 2, 9  # labelled slices
z, y, x = (axis * step for axis, step in zip(np.indices(SHAPE), SPACING))
labelled = (z >= FIRST * SPACING[0]) & (z <= LAST * SPACING[0])
radius = np.hypot(y - 50, x - 62)


def heart() -> np.ndarray:
    """Labels of a cavity that tapers, in a wall of 9 mm, and a crescent beside it."""
    taper = np.sqrt(1 - ((z - FIRST * SPACING[0]) / 80) ** 2 * labelled)
    labels = np.zeros(SHAPE, np.uint8)
    labels[(np.hypot(y - 50, x - 34) < 26 * taper) & labelled] = RV
    labels[(radius < 24 * taper + 9) & labelled] = MUSCLE
    labels[(radius < 24 * taper) & labelled] = LV
    return labels


def closed(vertices: np.ndarray, faces: np.ndarray) -> trimesh.Trimesh:
    """The surface as trimesh sees it, once it has found it closed."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert (mesh.euler_number, mesh.body_count) == (2, 1)
    assert mesh.volume > 0
    return mesh


def quality(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """4 sqrt(3) area / (sum of squared sides) of every triangle: 1 if equilateral, 0 if degenerate."""
    a, b, c = (vertices[corner] for corner in faces.T)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return 4 * np.sqrt(3) * area / sum(((p - q) ** 2).sum(1) for p, q in ((a, b), (b, c), (c, a)))


def test_the_volume_of_a_cube_is_known_and_its_sign_tells_the_sense():
    cube = trimesh.creation.box(extents=(20, 30, 40))
    assert enclosed_ml(cube.vertices + 500.0, cube.faces) == pytest.approx(24, rel=1e-6)
    assert enclosed_ml(cube.vertices, cube.faces[:, ::-1]) == pytest.approx(-24, rel=1e-6)
    twice = np.stack([cube.vertices, 2 * cube.vertices])
    np.testing.assert_allclose(enclosed_ml(twice, cube.faces), [24, 192])


def test_a_cylinder_has_its_volume_a_flat_base_and_a_closed_apex():
    labels = np.where((radius < 25) & labelled, LV, 0).astype(np.uint8)
    vertices, faces, remarks = surface_of("LV endocardium", labels, SPACING)
    closed(vertices, faces)
    assert remarks == ()
    slices = LAST - FIRST + 1
    assert enclosed_ml(vertices, faces) == pytest.approx(np.pi * 25**2 * SPACING[0] * slices / 1000, rel=0.015)
    base = (FIRST - 0.5) * SPACING[0]
    inner = np.hypot(vertices[:, 1] - 50, vertices[:, 2] - 62) < 20
    np.testing.assert_allclose(vertices[inner & (vertices[:, 0] < base + 5), 0], base, atol=0.2)
    assert vertices[:, 0].max() == pytest.approx((LAST + 0.75) * SPACING[0], abs=1)
    middle = (vertices[:, 0] > 3 * SPACING[0]) & (vertices[:, 0] < 8 * SPACING[0])
    found = np.hypot(vertices[middle, 1] - 50, vertices[middle, 2] - 62)
    assert found.mean() == pytest.approx(25, abs=0.3)
    assert found.std() < 0.3


@pytest.mark.parametrize("name", SURFACES)
def test_a_heart_has_the_volume_of_its_labels_and_no_slivers(name: str):
    labels = heart()
    vertices, faces, remarks = surface_of(name, labels, SPACING)
    closed(vertices, faces)
    assert remarks == ()
    assert faces.dtype == np.int32
    assert quality(vertices, faces).min() >= 0.2
    codes = {"LV endocardium": [LV], "LV epicardium": [LV, MUSCLE], "RV endocardium": [RV]}[name]
    counted = np.isin(labels, codes).sum() * np.prod(SPACING) / 1000
    assert enclosed_ml(vertices, faces) == pytest.approx(counted, rel=0.03)


def test_the_endocardium_lies_in_the_epicardium():
    labels = heart()
    outer = closed(*surface_of("LV epicardium", labels, SPACING)[:2])
    inner, _, _ = surface_of("LV endocardium", labels, SPACING)
    base = (FIRST - 0.5) * SPACING[0]
    side = inner[(inner[:, 0] > base + 10) & (inner[:, 0] < 6 * SPACING[0])]
    _, apart, _ = trimesh.proximity.closest_point_naive(outer, side[::20])
    assert apart.min() > 7.5
    assert np.median(apart) == pytest.approx(9, abs=0.6)


def broken(kind: str) -> np.ndarray:
    labels = heart()
    if kind == "hole in a slice":
        labels[5, 34:38, 36:40] = 0
    elif kind == "slice without labels":
        labels[5] = 0
    elif kind == "second body":
        labels[4, 3:8, 3:8] = LV
    elif kind == "handle":  # a spur of one slice that meets the spur of another
        labels[4, 35, 38:58] = labels[6, 35, 38:58] = LV
        labels[5, 35, 55:58] = LV
    elif kind == "one slice":
        labels[:5] = labels[6:] = 0
    elif kind == "noise":
        wrong = np.random.default_rng(0).random(SHAPE) < 0.15
        labels[wrong & labelled & (radius < 28)] = 0
    elif kind == "at the edge":
        labels = np.roll(labels, -21, axis=2)[FIRST : LAST + 1]
    return labels


@pytest.mark.parametrize(
    "kind", ["hole in a slice", "slice without labels", "second body", "handle", "one slice", "noise", "at the edge"]
)
def test_any_labels_give_one_body_without_tunnels(kind: str):
    labels = broken(kind)
    vertices, faces, _ = surface_of("LV endocardium", labels, SPACING)
    closed(vertices, faces)
    if kind != "one slice":
        whole = enclosed_ml(*surface_of("LV endocardium", heart(), SPACING)[:2])
        assert enclosed_ml(vertices, faces) == pytest.approx(whole, rel=0.05)


def test_a_tunnel_is_closed_and_told():
    labels = heart()
    whole = enclosed_ml(*surface_of("LV endocardium", labels, SPACING)[:2])
    labels[4:6, 34:38] = 0  # a channel through the cavity, with blood above and below
    vertices, faces, remarks = surface_of("LV endocardium", labels, SPACING)
    closed(vertices, faces)
    assert len(remarks) == 1
    assert "LV endocardium: a tunnel closed" in remarks[0]
    assert enclosed_ml(vertices, faces) == pytest.approx(whole, rel=0.05)


def test_a_structure_that_is_missing_or_too_thin_is_the_subjects_fault():
    labels = heart()
    labels[labels == RV] = 0
    with pytest.raises(CofError, match="no RV endocardium") as missing:
        surface_of("RV endocardium", labels, SPACING)
    assert missing.value.reason is Reason.HEART_NOT_FOUND
    labels[FIRST : LAST + 1, 5:7, 10:41] = RV
    labels[FIRST + 2 : LAST - 1, 5:7, 12:39] = 0  # a frame that is two voxels thin
    with pytest.raises(CofError, match="too little of the RV endocardium") as thin:
        surface_of("RV endocardium", labels, SPACING)
    assert thin.value.reason is Reason.HEART_NOT_FOUND
