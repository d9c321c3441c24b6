"""Files of somebody else are never written over."""

import json
from pathlib import Path

import pandas as pd
import pytest

from cof.artefacts.folders import MANIFEST, whole_folder
from cof.artefacts.parquet import write_table
from cof.artefacts.provenance import stamp
from cof.errors import UsageError
from cof.features.artefacts import write_features
from cof.outputs import Form, Output, claim


def ours(path: Path) -> Path:
    """A single file as the stages write it."""
    if path.suffix == ".json":
        path.write_text(json.dumps({"provenance": stamp({})}))
    elif path.suffix == ".safetensors":
        write_features(path, {}, {"networks": {}})
    else:
        write_table(path, pd.DataFrame({"subject": ["sub-0001-v2"]}), stamp({}))
    return path


def made(folder: Path) -> Path:
    with whole_folder(folder) as aside:
        (aside / "inner").mkdir(parents=True)
        (aside / "inner/a").write_text("ours")
    return folder


def wanted(path: Path, form: Form, overwrite: bool = False, read: tuple[Path, ...] = ()) -> None:
    claim([Output("--out", path, form)], read, overwrite)


def test_a_folder_of_ours_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = made(tmp_path / "out")
    assert json.loads((out / MANIFEST).read_text())["files"] == ["inner/a"]
    with pytest.raises(UsageError, match=f"--out {out} exists.*--overwrite"):
        wanted(out, Form.FOLDER)
    wanted(out, Form.FOLDER, overwrite=True)
    (out / "inner/.snakemake_timestamp").touch()  # Snakemake's mark is nobody's file
    wanted(out, Form.FOLDER, overwrite=True)


@pytest.mark.parametrize("name", ["notes.txt", "inner/notes.txt", "new/notes.txt", ".hidden", "link"])
def test_a_folder_with_a_foreign_file_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    out = made(tmp_path / "out")
    foreign = out / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.symlink_to(tmp_path) if name == "link" else foreign.write_text("mine")
    for attempt in (lambda: wanted(out, Form.FOLDER, overwrite=True), lambda: made(out)):
        with pytest.raises(UsageError, match=f"{out} holds '{name}', which its manifest"):
            attempt()
    assert foreign.is_symlink() or foreign.read_text() == "mine"
    assert (out / "inner/a").read_text() == "ours"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_without_a_manifest_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    wanted(tmp_path / "out", Form.FOLDER)  # empty: nothing to lose
    for name in ("a", "b", "c"):
        (tmp_path / "out" / name).touch()
    with pytest.raises(UsageError, match=r"holds 'a' and 2 more files and no manifest.*remove the folder"):
        wanted(tmp_path / "out", Form.FOLDER, overwrite=True)
    (tmp_path / "out" / MANIFEST).write_text("{")
    with pytest.raises(UsageError, match="no manifest"):
        made(tmp_path / "out")


def test_a_file_put_there_meanwhile_is_kept(tmp_path: Path) -> None:
    out = made(tmp_path / "out")
    with pytest.raises(UsageError, match=r"'late.txt'"), whole_folder(out) as aside:  # noqa: PT012
        (aside / "b").touch()
        (out / "late.txt").write_text("mine")
    assert (out / "late.txt").read_text() == "mine"
    assert (out / "inner/a").exists()


def test_a_file_in_the_place_of_a_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="not a folder"):
        made(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_the_folder_that_one_is_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = made(tmp_path / "out")
    monkeypatch.chdir(out / "inner")
    for name in ("..", str(out), "."):
        with pytest.raises(UsageError, match="is the current folder, or contains it"):
            wanted(Path(name), Form.FOLDER, overwrite=True)


@pytest.mark.parametrize("name", ["a.parquet", "a.json", "a.safetensors"])
def test_a_file_of_ours_is_replaced_only_when_asked(tmp_path: Path, name: str) -> None:
    out = ours(tmp_path / name)
    with pytest.raises(UsageError, match=f"--out {out} exists.*--overwrite"):
        wanted(out, Form.FILE)
    wanted(out, Form.FILE, overwrite=True)


@pytest.mark.parametrize("name", ["a.parquet", "a.json", "a.safetensors", "a"])
def test_a_foreign_file_is_not_replaced(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    pd.DataFrame({"mine": [1]}).to_parquet(out) if name.endswith("parquet") else out.write_text("mine")
    for overwrite, said in ((False, "exists"), (True, "was not made by cof")):
        with pytest.raises(UsageError, match=said):
            wanted(out, Form.FILE, overwrite)
    out.unlink()
    out.mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        wanted(out, Form.FILE, overwrite=True)


@pytest.mark.parametrize("suffix", [".csv", ".md", ".tex"])
def test_a_table_is_three_files(tmp_path: Path, suffix: str) -> None:
    wanted(tmp_path / "table1", Form.TABLE)
    (tmp_path / f"table1{suffix}").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=f"table1{suffix}"):
            wanted(tmp_path / "table1", Form.TABLE, overwrite)
    wanted(tmp_path / "table2", Form.TABLE)


def test_places_that_cannot_be_written_are_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=f"cannot be written: {tmp_path / 'file'} is not a folder"):
        wanted(tmp_path / "file/deep/out", Form.FOLDER)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match=f"you may not write into {tmp_path}"):
        wanted(tmp_path / "new/out", Form.FILE)


def test_outputs_are_no_inputs_and_do_not_lie_in_one_another(tmp_path: Path) -> None:
    table = ours(tmp_path / "beats.parquet")
    with pytest.raises(UsageError, match="also read by this command"):
        wanted(table, Form.FILE, overwrite=True, read=(table,))
    for inner in (tmp_path / "out", tmp_path / "out/excluded.parquet"):
        outputs = [Output("--out", tmp_path / "out", Form.FOLDER), Output("--exclusions", inner, Form.FILE)]
        with pytest.raises(UsageError, match=f"{inner} lies in"):
            claim(outputs, (), overwrite=False)
