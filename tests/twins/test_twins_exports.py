"""Exports of a heart, read by other software: trimesh, VTK, and for glTF its validator and another library."""

import json
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from beating_heart import FRAMES, RR_MS, write_beating_heart
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

import cof
from cof.cli import main
from cof.errors import UsageError
from cof.heart.structures import SURFACES
from cof.twins.exports.formats import FORMATS, chosen_of, export, formats_of
from cof.twins.exports.heart import Heart
from cof.twins.patient import patient_of
from cof.twins.summary import index_records, reference_record

JS = Path(__file__).parents[1] / "js"
SAID = "synthetic, not for diagnosis"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("beating") / "heart"
    write_beating_heart(made)
    return made


@pytest.fixture(scope="module")
def heart(folder: Path) -> Heart:
    return Heart.read(folder)


@pytest.fixture(scope="module")
def written(heart: Heart, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return export(heart, tmp_path_factory.mktemp("exports"), ("stl", "vtp", "glb"))


def test_a_heart_tells_what_its_files_hold(heart: Heart):
    assert (heart.name, heart.timed, heart.es_frame) == ("twin", True, FRAMES // 2)
    assert heart.labels.shape == heart.cine.frames.shape
    np.testing.assert_allclose(heart.times_ms, np.arange(FRAMES) * RR_MS / FRAMES, atol=1e-3)
    assert heart.notices == [
        "research software, not for diagnosis",
        "made without an ECG",
        "labels by a network trained on simulated hearts",
        "for research alone",
    ]
    assert heart.surfaces is heart.surfaces
    with pytest.raises(UsageError, match=r"missing twin\.nii"):
        Heart.read(Path(__file__).parent)


def test_no_format_holds_age_or_size_of_the_patient(folder: Path, tmp_path: Path):
    """They are in `summary.json` alone, from which every format takes its numbers and notices."""
    stated = {"sex": "F", "age_y": 67.3141, "height_cm": 171.7342, "weight_kg": 83.9173}
    patient = patient_of({"scan": stated}).record() | stated
    indices = index_records(Heart.read(folder).summary["function"], None, {}, "F", patient["bsa_m2"])
    told = {"patient": patient, "reference": reference_record(), "indices": indices}
    heart = Heart.read(folder)
    export(replace(heart, summary=heart.summary | told), tmp_path)
    contents = b"".join(file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file())
    assert SAID.encode() in contents
    for said in (*stated, *map(str, stated.values()), "bsa_m2", "Mosteller"):
        assert said in ("sex", "F") or said.encode() not in contents, said


def test_stl_has_ed_and_es_in_ras(heart: Heart, written):
    *files, record = written["stl"]
    assert len(files) == 2 * len(SURFACES)
    for name, surface in heart.surfaces.items():
        for phase, frame in (("ED", 0), ("ES", FRAMES // 2)):
            path = files[0].parent / f"twin_{name.replace(' ', '_')}_{phase}.stl"
            content = path.read_bytes()
            assert content[:80].decode("ascii").startswith(f"SPACE=RAS mm; {name} {phase}; {SAID}")
            assert len(content) == 84 + 50 * len(surface.faces)
            mesh = trimesh.load(path)
            assert mesh.is_watertight
            assert mesh.volume / 1000 == pytest.approx(surface.volume_ml[frame], rel=1e-4)
            corners = surface.vertices[frame]
            np.testing.assert_allclose(mesh.bounds, [corners.min(0), corners.max(0)], atol=1e-3)
            normals = np.frombuffer(content[84:], np.dtype([("normal", "<f4", 3), ("rest", "V38")]))["normal"]
            np.testing.assert_allclose(normals, mesh.face_normals, atol=1e-3)
    told = json.loads(record.read_text())
    assert (told["space"], told["unit"], told["es_frame"]) == ("RAS", "mm", FRAMES // 2)
    assert SAID in told["notices"]
    assert "for research alone" in told["notices"]
    assert "cut" in told["ends"]
    found, curve = told["function"]["LV"], told["volume_ml"]["LV endocardium"]
    assert found["labels"] == {key: heart.summary["function"]["LV"][key] for key in ("edv_ml", "esv_ml", "ef_pct")}
    assert found["surfaces"]["ef_pct"] == pytest.approx(100 * (1 - min(curve) / curve[0]), abs=0.02)
    assert found["surfaces"]["edv_ml"] == curve[0]
    np.testing.assert_allclose(curve, heart.surfaces["LV endocardium"].volume_ml, atol=0.006)


def test_vtk_reads_every_frame_with_its_time_and_place(heart: Heart, written):
    series, *files = written["vtp"]
    assert len(files) == FRAMES
    surfaces = list(heart.surfaces.values())
    for frame, path in enumerate(files):
        reader = vtkXMLPolyDataReader()
        reader.SetFileName(str(path))
        reader.Update()
        data = reader.GetOutput()
        assert data.GetNumberOfCells() == sum(len(surface.faces) for surface in surfaces)
        fields = data.GetFieldData()
        assert fields.GetAbstractArray("SPACE").GetValue(0) == "LPS"
        assert [fields.GetAbstractArray("structures").GetValue(i) for i in range(3)] == list(SURFACES)
        assert SAID in json.loads(fields.GetAbstractArray("about").GetValue(0))["notices"]
        assert fields.GetArray("TimeValue").GetValue(0) == pytest.approx(frame * RR_MS / FRAMES, abs=0.01)
        every = np.concatenate([surface.vertices[frame] for surface in surfaces]) * (-1, -1, 1)
        np.testing.assert_allclose(np.reshape(data.GetBounds(), (3, 2)).T, [every.min(0), every.max(0)], atol=0.01)
        counted = data.GetCellData().GetArray("structure")
        structure = np.array([counted.GetValue(cell) for cell in range(data.GetNumberOfCells())])
        first = 0
        for number, surface in enumerate(surfaces, 1):
            cells = np.flatnonzero(structure == number)
            assert len(cells) == len(surface.faces)
            for cell, face in ((cells[0], surface.faces[0]), (cells[-1], surface.faces[-1])):
                ids = data.GetCell(int(cell)).GetPointIds()
                assert [ids.GetId(i) - first for i in range(3)] == face.tolist()
            first += surface.vertices.shape[1]
    entries = list(ElementTree.parse(series).getroot().iter("DataSet"))
    assert [entry.get("file") for entry in entries] == [path.name for path in files]
    np.testing.assert_allclose([float(entry.get("timestep", "")) for entry in entries], heart.times_ms, atol=1e-3)
    assert "SPACE=LPS" in series.read_text()


def gltf(path: Path) -> tuple[dict, bytes]:
    """The JSON and the binary part of a GLB file."""
    content = path.read_bytes()
    magic, version, length, size, kind = struct.unpack("<4sIII4s", content[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON")
    return json.loads(content[20 : 20 + size]), content[28 + size :]


def test_glb_is_one_closed_cycle_in_metres_with_y_up(heart: Heart, written):
    scene, data = gltf(written["glb"][0])
    assert all(SAID in node["name"] for node in scene["nodes"])
    assert [node["name"].split(" (")[0] for node in scene["nodes"]] == list(SURFACES)
    assert len({tuple(one["pbrMetallicRoughness"]["baseColorFactor"]) for one in scene["materials"]}) == 3
    assert SAID in scene["asset"]["extras"]["notices"]

    def values(index: int) -> np.ndarray:
        accessor = scene["accessors"][index]
        view = scene["bufferViews"][accessor["bufferView"]]
        kind = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
        found = np.frombuffer(data[view["byteOffset"] : view["byteOffset"] + view["byteLength"]], kind)
        return found.reshape(accessor["count"], -1)

    (animation,) = scene["animations"]
    (sampler,) = animation["samplers"]
    times, weights = values(sampler["input"])[:, 0], values(sampler["output"]).reshape(FRAMES + 1, FRAMES - 1)
    np.testing.assert_allclose(times, np.append(heart.times_ms, RR_MS) / 1000, rtol=1e-6)
    np.testing.assert_array_equal(weights[1:-1], np.eye(FRAMES - 1))
    assert not weights[[0, -1]].any()  # the cycle begins and ends at ED
    assert [channel["target"] for channel in animation["channels"]] == [
        {"node": node, "path": "weights"} for node in range(3)
    ]
    for mesh, surface in zip(scene["meshes"], heart.surfaces.values()):
        (primitive,) = mesh["primitives"]
        assert len(primitive["targets"]) == len(mesh["weights"]) == FRAMES - 1
        rest = values(primitive["attributes"]["POSITION"])
        for frame in range(FRAMES):
            places = rest + values(primitive["targets"][frame - 1]["POSITION"]) if frame else rest
            right, anterior, superior = surface.vertices[frame].T / 1000
            np.testing.assert_allclose(places, np.stack([-right, superior, anterior], axis=1), atol=1e-6)
        np.testing.assert_array_equal(values(primitive["indices"]).reshape(-1, 3), surface.faces)
        mesh_ed = trimesh.Trimesh(rest, surface.faces, process=False)
        normals = values(primitive["attributes"]["NORMAL"])
        assert (np.einsum("ij,ij->i", normals, mesh_ed.vertex_normals) > 0.9).mean() > 0.99


def test_other_software_finds_no_fault_in_glb_and_the_same_volumes(heart: Heart, written):
    if shutil.which("node") is None or not (JS / "node_modules").is_dir():
        pytest.skip("glTF's validator is not installed: npm ci --prefix tests/js (Node.js 18 or newer)")
    done = subprocess.run(
        ["node", JS / "check_glb.mjs", written["glb"][0]], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert found["issues"]["messages"] == []
    assert (found["issues"]["numErrors"], found["issues"]["numWarnings"]) == (0, 0)
    assert len(found["nodes"]) == len(SURFACES)
    for node, surface in zip(found["nodes"], heart.surfaces.values()):
        assert node["name"].startswith(surface.name)
        expected = np.append(surface.volume_ml, surface.volume_ml[0])
        np.testing.assert_allclose(np.array(node["volumes"]) * 1e6, expected, rtol=0.005)


def test_exports_are_the_same_bytes_every_time(folder: Path, written, tmp_path: Path):
    again = export(Heart.read(folder), tmp_path, tuple(written))
    for name, paths in written.items():
        assert [path.name for path in paths] == [path.name for path in again[name]]
        assert all(one.read_bytes() == other.read_bytes() for one, other in zip(paths, again[name]))


def run(*words: object) -> int:
    """Exit code of `cof`."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_says_what_it_wrote(folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert run("export", folder, "--out", out, "--formats", "stl, glb") == 0
    said = capsys.readouterr().err
    assert f"export: wrote stl (7 files), glb (1 file) to {out}. Generated, not for diagnosis" in said
    assert {path.name for path in out.iterdir()} == {"stl", "glb", ".cof-manifest.json"}
    assert run("export", folder, "--out", out) != 0
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("stl,obj", "there is no format 'obj'; there are stl, vtp, glb"),
        ("stl,stl", "a format is named twice: stl, stl"),
        ("all,stl", "'all' stands for every format: name no other beside it"),
    ],
)
def test_a_wrong_format_is_one_line(folder: Path, tmp_path: Path, capsys, typed: str, said: str):
    assert run("export", folder, "--out", tmp_path / "out", "--formats", typed) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_heart_of_images_has_no_surfaces_and_says_so(tmp_path: Path, capsys):
    write_beating_heart(tmp_path / "images", moved=False)
    assert run("export", tmp_path / "images", "--out", tmp_path / "out", "--formats", "stl") != 0
    said = capsys.readouterr().err.strip()
    assert said.endswith("the model lfdm generates images and no motion: this heart has no surfaces")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    other = {name for name, known in FORMATS.items() if not known.moves}
    if not other:
        with pytest.raises(UsageError, match="no motion"):
            export(Heart.read(tmp_path / "images"), tmp_path)


def test_a_file_without_placement_is_told(heart: Heart, tmp_path: Path):
    with pytest.raises(UsageError, match="make the heart again"):
        export(replace(heart, placement=None), tmp_path, ("stl",))


def test_every_format_has_a_line_and_a_writer():
    for name, known in FORMATS.items():
        assert known.told
        assert known.writer == f"cof.twins.exports.{name}:write"
    assert formats_of(()) == ()


def test_all_formats_are_those_that_the_heart_can_have(folder: Path, tmp_path: Path):
    write_beating_heart(tmp_path / "images", moved=False)
    images = Heart.read(tmp_path / "images")
    assert set(FORMATS) - set(chosen_of(images, ["all"])) == {name for name, known in FORMATS.items() if known.moves}
    assert chosen_of(Heart.read(folder), ["all"]) == chosen_of(Heart.read(folder), ()) == tuple(FORMATS)


def test_from_python_a_heart_has_surfaces_and_saves_formats(folder: Path, heart: Heart, tmp_path: Path):
    made = cof.Heart.read(folder)
    for name, surface in made.surfaces.items():
        np.testing.assert_array_equal(surface.vertices, heart.surfaces[name].vertices)
    made.save(tmp_path / "saved", formats=["stl"])
    assert len(list((tmp_path / "saved/stl").glob("*.stl"))) == 6
    again = cof.Heart.read(tmp_path / "saved")
    np.testing.assert_array_equal(again.labels, made.labels)
    made.save(tmp_path / "saved", overwrite=True)
    assert not (tmp_path / "saved/stl").exists()
    with pytest.raises(UsageError, match="no format 'obj'"):
        made.save(tmp_path / "other", formats=["obj"])
    assert not (tmp_path / "other").exists()
