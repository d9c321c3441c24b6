"""The privacy check finds what is shaped like a participant id wherever it may hide, and cries wolf at nothing else."""

import gzip
import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin
from safetensors.numpy import save_file

from cof import cli
from cof.artefacts.parquet import write_table
from cof.cohort import build_cohort
from cof.config.data import CohortSettings
from cof.errors import UsageError
from cof.privacy import check_history, check_paths, numbers

IDENTITY = str(2 * 10**6 + 345678)  # shaped like a participant id, so never written out
LOWEST, HIGHEST = str(10**6), str(65 * 10**5)


@pytest.mark.parametrize(
    "text",
    [
        "{}", "{}_20209_2_0.zip", "eid{}", "/raw/{}/x", "a,{},b", '"{}"', "-{}", "{}.", "{}.0", "{}.00,", "{}.csv",
        "é{}é", "b{}b", "b{}-84ad-4df0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("identity", [IDENTITY, LOWEST, HIGHEST], ids=["usual", "lowest", "highest"])
def test_ids_are_found_in_any_surroundings(text: str, identity: str) -> None:
    before = b"one line\nand "
    assert list(numbers(before + text.format(identity).encode() + b" more")) == [
        len(before) + text.index("{") + sum(ord(letter) > 127 for letter in text[: text.index("{")])
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1{}", "{}1", "0.{}", "12.{}", "{}.25", "{}.001", "{}e-05", "{}E7", "9f3b{}c0de", "A1B2C{}D3E4",
        "data:image/png;base64,AAAA{}bbbb/{}+==", "url(#p{}afc)",
        "Workflow ID: f{}-84ad-4df0-8f62-514241d60675", "{}a-84ad-4df0-8f62-514241d60675",
    ],
)  # fmt: skip
def test_other_numbers_are_none(text: str) -> None:
    assert not list(numbers(text.format(IDENTITY, IDENTITY).encode()))


def test_numbers_outside_the_range_are_none() -> None:
    assert not list(numbers(b"0999999 9999999 7000000 123456 12345678 20209 1_000_000 1,234,567"))


def as_text(path: Path) -> None:
    path.with_suffix(".log").write_text(f"fine\nfine\nno file {IDENTITY}_20205_2_0.xml\n")


def as_binary(path: Path) -> None:
    path.write_bytes(b"DICM\0\1\2LO\x08\0" + IDENTITY.encode() + b" \0")


def as_strings(path: Path) -> None:
    write_table(path.with_suffix(".parquet"), pd.DataFrame({"a": ["x", f"see {IDENTITY}"]}), {})


def as_lists(path: Path) -> None:
    write_table(path.with_suffix(".parquet"), pd.DataFrame({"a": [["x"], [], ["y", IDENTITY]]}), {})


def as_integers(path: Path) -> None:
    write_table(path.with_suffix(".parquet"), pd.DataFrame({"a": [0, int(IDENTITY)]}), {})


def as_floats(path: Path) -> None:
    write_table(path.with_suffix(".parquet"), pd.DataFrame({"a": [np.nan, float(IDENTITY)]}), {})


def as_categories(path: Path) -> None:
    write_table(path.with_suffix(".parquet"), pd.DataFrame({"a": pd.Categorical(["x", IDENTITY])}), {})


def as_provenance(path: Path) -> None:
    write_table(path.with_suffix(".parquet"), pd.DataFrame({"a": [0]}), {"sheet": f"{IDENTITY}.csv"})


def as_packed_header(path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    image.header["descrip"] = IDENTITY.encode()
    nib.save(image, path.with_suffix(".nii.gz"))


def as_tensor_metadata(path: Path) -> None:
    save_file({"a": np.zeros(2, np.float16)}, path.with_suffix(".safetensors"), {"subject": IDENTITY})


def glb(header: dict, binary: bytes) -> bytes:
    """A binary glTF file: its JSON, and the arrays after it."""
    text = json.dumps(header).encode()
    parts = [len(text).to_bytes(4, "little"), b"JSON", text, len(binary).to_bytes(4, "little"), b"BIN\0", binary]
    return b"glTF" + (2).to_bytes(4, "little") + (12 + sum(map(len, parts))).to_bytes(4, "little") + b"".join(parts)


def as_name_in_a_mesh(path: Path) -> None:
    path.with_suffix(".glb").write_bytes(glb({"nodes": [{"name": IDENTITY}]}, b""))


def as_archive(path: Path) -> None:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", IDENTITY)


def as_archive_name(path: Path) -> None:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.writestr(f"{IDENTITY}.dcm", b"")


def as_image_text(path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", IDENTITY)
    Image.new("L", (4, 4)).save(path.with_suffix(".png"), pnginfo=info)


def as_broken_table(path: Path) -> None:
    path.with_suffix(".parquet").write_text(IDENTITY)


def as_name(path: Path) -> None:
    path.with_name(f"{IDENTITY}_20205_2_0.csv").touch()


def as_folder(path: Path) -> None:
    path.with_name(IDENTITY).mkdir()


HIDDEN = [
    as_text, as_binary, as_strings, as_lists, as_integers, as_floats, as_categories, as_provenance, as_packed_header,
    as_tensor_metadata, as_name_in_a_mesh, as_archive, as_archive_name, as_image_text, as_broken_table, as_name,
    as_folder,
]  # fmt: skip


@pytest.mark.parametrize("hide", HIDDEN)
def test_an_id_is_found_where_it_hides_and_never_repeated(tmp_path: Path, hide: Callable[[Path], None]) -> None:
    (tmp_path / "results").mkdir()
    hide(tmp_path / "results/file")
    places = list(check_paths([tmp_path / "results"]))
    assert len(places) == 1
    assert IDENTITY not in places[0]
    if hide is as_text:
        assert places[0] == "results/file.log, line 3"


def test_ordinary_artefacts_are_clean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"signal": [rng.normal(size=5000)], "n": [10**7], "subject": ["sub-0001"]})
    write_table(tmp_path / "a.parquet", table, {})
    nib.save(nib.Nifti1Image(rng.integers(0, 3, (32, 32, 4), np.uint8), np.eye(4)), tmp_path / "b.nii.gz")
    Image.fromarray(rng.integers(0, 255, (256, 256), np.uint8)).save(tmp_path / "c.png")
    digits = np.frombuffer(f"{IDENTITY} ".encode() * 8, np.float16)  # half-precision numbers spell anything
    save_file({"a": digits}, tmp_path / "e.safetensors")
    save_file(
        {"a": np.zeros(12 * 10**5, np.uint8), "b": digits}, tmp_path / "f.safetensors"
    )  # whose header has offsets
    views = {"bufferViews": [{"byteOffset": int(IDENTITY), "byteLength": int(LOWEST)}]}  # where arrays lie
    (tmp_path / "g.glb").write_bytes(glb(views, digits.tobytes()))
    (tmp_path / "d.json").write_text(str({"rr": 0.5 + rng.random(1000), "hash": "f0" * 32}))
    assert not list(check_paths([tmp_path]))


def test_links_are_not_followed_and_missing_paths_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    as_text(tmp_path / "out")
    (tmp_path / "in/link").symlink_to(tmp_path / "out.log")
    assert not list(check_paths([tmp_path / "in"]))
    with pytest.raises(UsageError) as caught:
        list(check_paths([tmp_path / IDENTITY]))
    assert IDENTITY not in str(caught.value)


def repository(root: Path) -> Callable[..., None]:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            check=True,
            capture_output=True,
        )

    git("init", "-q")
    return git


def test_the_history_is_searched_in_content_names_and_messages(tmp_path: Path) -> None:
    git = repository(tmp_path)
    (tmp_path / "a.txt").write_text("nothing\n")
    git("add", ".")
    git("commit", "-qm", "first")
    assert not list(check_history(tmp_path))
    (tmp_path / "a.txt").write_text(f"x\n{IDENTITY}\n")
    git("commit", "-qam", "second")
    (tmp_path / "a.txt").write_text("nothing again\n")
    git("commit", "-qam", f"take out {IDENTITY}")
    (tmp_path / f"{IDENTITY}.txt").write_text("nothing\n")
    git("add", ".")
    git("commit", "-qm", "fourth")
    git("rm", "-q", f"{IDENTITY}.txt")
    git("commit", "-qm", "fifth")
    assert not list(check_paths([tmp_path]))
    places = list(check_history(tmp_path))
    assert len(places) == 3
    assert sum("(a.txt), line 2" in place for place in places) == 1
    assert sum("message" in place for place in places) == 1
    assert sum("the name <id>.txt" in place for place in places) == 1
    assert IDENTITY not in "".join(places)


def test_no_repository_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="not a git repository"):
        list(check_history(tmp_path))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


def test_the_command_fails_where_there_are_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clean.txt").write_text("nothing")
    said = "looked at 1 file: no number shaped like a participant id\n"
    assert run(capsys, "privacy", str(tmp_path)) == (0, said, "")
    as_text(tmp_path / "file")
    code, out, _ = run(capsys, "privacy", str(tmp_path))
    assert code == 1
    assert "file.log, line 3" in out
    assert IDENTITY not in out
    assert run(capsys, "privacy")[0] == 2


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Path, str]:
    """The key of a salted cohort of one, and its pseudonym."""
    (tmp_path / "subjects.csv").write_text(
        f"subject,visit,ecg,cine\n{IDENTITY},2,{IDENTITY}_20205_2_0.xml,{IDENTITY}_20209_2_0.zip\n"
    )
    (tmp_path / "salt").write_text("a long secret, kept elsewhere")
    key = tmp_path / "cohort" / "key.parquet"
    settings = CohortSettings(salt_file=str(tmp_path / "salt"))
    build_cohort(sheet=tmp_path / "subjects.csv", out=key.with_name("subjects.parquet"), key=key, settings=settings)
    return key, str(pd.read_parquet(key.with_name("subjects.parquet"))["subject"].iloc[0])


def test_the_key_may_hold_ids_while_it_is_private(cohort: tuple[Path, str]) -> None:
    key, _ = cohort
    assert not list(check_paths([key.parent]))
    key.chmod(0o640)
    assert list(check_paths([key.parent])) == ["cohort/key.parquet: the key can be read by others"]


def test_who_finds_the_raw_files_of_a_pseudonym(cohort: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    key, subject = cohort
    for name in (subject, subject.removesuffix("-v2")):
        code, out, _ = run(capsys, "lookup", name, "--key", str(key))
        assert code == 0
        assert f"{IDENTITY}_20205_2_0.xml" in out
        assert f"{IDENTITY}_20209_2_0.zip" in out


@pytest.mark.parametrize("name", ["sub-zzzzzzzz-v2", IDENTITY], ids=["pseudonym", "raw"])
def test_who_is_one_clear_line_for_a_stranger(
    cohort: tuple[Path, str], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, out, err = run(capsys, "lookup", name, "--key", str(cohort[0]))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "has no subject or participant" in err
    assert IDENTITY not in err


def test_who_without_a_key_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "lookup", "sub-0001", "--key", str(tmp_path / "key.parquet"))
    assert code == 2
    assert err.splitlines() == [f"cof: error: there is no key at {tmp_path / 'key.parquet'}; name it by --key"]


def test_a_gzip_that_lies_is_still_searched(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_text(IDENTITY)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        file.write(IDENTITY.encode())
    (tmp_path / "b.gz").write_bytes(packed.getvalue())
    assert list(check_paths([tmp_path])) == [f"{tmp_path.name}/a.gz, line 1", f"{tmp_path.name}/b.gz, line 1"]
