"""Every verb that there is: what it would write over, where it cannot write, what it cannot read.

A new verb is met here by itself, since its parameters say what they are.
"""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.models import ArgumentInfo
from typer.testing import CliRunner

from cof import cli
from cof.artefacts.folders import MANIFEST, Batches, whole_folder
from cof.artefacts.parquet import write_table
from cof.artefacts.provenance import stamp
from cof.cohort import EveryFolder, EveryTable
from cof.commands import command_of, function_at, options_of
from cof.config.data import EcgSettings
from cof.inputs import KINDS, AnyPath, Batch, File, Folder, Kind, Table
from cof.options import Devices, Out, Seed, SettingsOf, Splits, Subjects
from cof.outputs import Form
from cof.verbs import GROUPS, PARENTS

REPOSITORY = Path(__file__).parents[1]
# Verb to its function, as module:name.
TARGETS = {verb: target for verbs in GROUPS.values() for verb, (target, _) in verbs.items()}


class Parameter(NamedTuple):
    """One parameter of a verb: how it is typed, and what its annotation says of it."""

    name: str
    flag: str
    is_argument: bool
    mark: Any
    required: bool
    annotation: Any


def parameters(verb: str) -> Iterator[Parameter]:
    for one in options_of(function_at(TARGETS[verb])):
        argument = isinstance(one.told, ArgumentInfo)
        flag = "--" + one.key if argument else one.name
        needed = one.default is inspect.Parameter.empty
        yield Parameter(one.key, flag, argument, one.form or one.needs, needed, one.kind)


# Sub-commands of `sheet` have checks of their own: tests/sheets.
VERBS = [verb for verb in TARGETS if " " not in verb]
WRITING = [name for name in VERBS if any(isinstance(one.mark, Form) for one in parameters(name))]
READ = [(name, one.name) for name in VERBS for one in parameters(name) if isinstance(one.mark, KINDS)]


def valid(kind: Kind, place: Path) -> Path:
    """A path of a kind, as far as a command looks at it before it begins."""
    if isinstance(kind, Table):
        write_table(place, pd.DataFrame({column: ["x"] for column in kind.columns}), stamp({}))
    elif isinstance(kind, Batch):
        place.mkdir()
        (place / f"sub-0001-v2{kind.suffix}").touch()
        (place / "sub-0001-v2.json").write_text(json.dumps({"placement": {}} if kind.placed else {}))
    elif isinstance(kind, Folder):
        place.mkdir()
    else:
        place.write_text("x")
    return place


def typed(verb: str, root: Path, **instead: Path) -> list[str]:
    """A command line with all that the verb has to be given; `instead` names paths of one's own."""
    words, arguments = [verb], []
    for one in parameters(verb):
        if not one.required and one.name not in instead:
            continue
        value: str | Path
        if one.name in instead:
            value = instead[one.name]
        elif isinstance(one.mark, KINDS):
            value = valid(one.mark, root / f"in-{one.name}")
        elif isinstance(one.mark, Form):
            value = root / f"made-{one.name}"
        else:
            value = "1" if one.annotation in (int, float) else "{}" if one.name == "settings" else root / one.name
        if one.is_argument:
            arguments.append(str(value))
        else:
            words += [one.flag, str(value)]
    return [*words, *arguments]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    return int(ended.value.code or 0), capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """The one line with which a command refuses."""
    code, said = run(capsys, *words)
    assert code == 2, said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("cof: error: ")
    return said


def test_there_are_verbs_that_write_and_read() -> None:
    assert {"twin", "register", "report", "table", "phantom", "cohort", "train", "labeller"} <= set(WRITING)
    assert {("twin", "scan"), ("register", "fixed"), ("grid", "cine"), ("config", "files")} <= set(READ)
    for name in VERBS:  # nothing called --out escapes
        outs = [one for one in parameters(name) if one.flag in ("--out", "--exclusions")]
        assert all(isinstance(one.mark, Form) for one in outs), name


@pytest.mark.parametrize("verb", WRITING)
def test_what_exists_is_kept_and_what_is_foreign_survives_overwrite(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forms = {one.name: one for one in parameters(verb) if isinstance(one.mark, Form)}
    for number, (name, one) in enumerate(forms.items()):
        root = tmp_path / str(number)
        root.mkdir()
        out = root / "out"
        foreign = out / "thesis.txt" if one.mark is Form.FOLDER else out.with_name(f"out{one.mark.value[0]}")
        if one.mark is Form.FOLDER:
            with whole_folder(out) as folder:
                (folder / "ours").write_text("ours")
        foreign.write_text("years of work")
        words = typed(verb, root, **{name: out})
        said = refused(capsys, words)
        assert f"{one.flag} {out if one.mark is Form.FOLDER else foreign} exists" in said
        assert "--overwrite" in said
        said = refused(capsys, [*words, "--overwrite"])
        assert str(foreign if one.mark is not Form.FOLDER else out) in said
        assert foreign.name in said
        assert foreign.read_text() == "years of work"
        assert one.mark is not Form.FOLDER or (out / "ours").read_text() == "ours"
        assert not [path for path in root.rglob("*") if path.name.startswith(("made-", "."))
                    and path.name != MANIFEST]  # fmt: skip


@pytest.mark.parametrize("verb", WRITING)
def test_a_place_that_cannot_be_written_is_one_line(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    words = typed(verb, tmp_path, out=out)
    said = refused(capsys, words)
    assert f"--out {out}" in said
    assert f"{tmp_path / 'file'} is not a folder" in said
    words[words.index(str(out))] = str(tmp_path / "closed/out")
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    assert f"you may not write into {tmp_path}" in refused(capsys, words)


@pytest.mark.parametrize(("verb", "name"), READ)
def test_a_wrong_path_is_one_line_with_what_was_typed(
    verb: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one,) = (one for one in parameters(verb) if one.name == name)
    wrong = tmp_path / "typo" / "nowhere.parquet"
    said = refused(capsys, typed(verb, tmp_path, **{name: wrong}))
    assert str(wrong) in said
    assert (one.name.upper() if one.is_argument else one.flag) in said


@pytest.mark.parametrize(("verb", "name"), READ)
def test_a_path_of_another_kind_is_one_line_that_says_so(
    verb: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one,) = (one for one in parameters(verb) if one.name == name)
    if isinstance(one.mark, AnyPath):
        pytest.skip("its readers say it: tests of the twin")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/other.txt").touch()
    (tmp_path / "text").write_text("x")
    others = {
        Table: [tmp_path / "folder", tmp_path / "text", valid(Table(("other",)), tmp_path / "other.parquet")],
        Batch: [tmp_path / "folder", tmp_path / "text"],
        Folder: [tmp_path / "text"],
        File: [tmp_path / "folder"],
    }[type(one.mark)]
    if isinstance(one.mark, Batch) and one.mark.placed is not None:
        others.append(valid(Batch(".nii", placed=not one.mark.placed), tmp_path / "grid"))
    for number, other in enumerate(others):
        (tmp_path / str(number)).mkdir()
        said = refused(capsys, typed(verb, tmp_path / str(number), **{name: other}))
        assert str(other) in said
        assert any(word in said for word in ("needed", "is another", "holds no", "not a parquet"))


def test_a_folder_of_all_batches_in_the_place_of_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cine/b000").mkdir(parents=True)
    assert "name the folder of one batch, such as" in refused(capsys, typed("grid", tmp_path, cine=tmp_path / "cine"))


BROKEN = {
    "an open bracket": ("a: 1\nb: [1, 2\nc: 3\n", ", line 3, column 2: not valid YAML"),
    "a tab": ("a:\n\t- 1\n", ", line 2, column 1: not valid YAML: found character '\\t'"),
    "a second colon": ("models: cof: 3\n", ", line 1, column 12: not valid YAML"),
    "a list": ("- 1\n- 2\n", ": a configuration is a mapping, lines of `key: value`, not list"),
    "no text": (b"\xff\xfe\x00\x01", ": not UTF-8 text"),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("verb", ["config", "estimate", "phantom", "report"])
def test_a_broken_configuration_is_one_line_with_file_and_line(
    verb: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, said = BROKEN[fault]
    file = tmp_path / "mine.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "results").mkdir()
    words = {
        "config": ["config", str(REPOSITORY / "config.yaml"), str(file)],
        "estimate": ["estimate", str(file), "--subjects", "9"],
        "phantom": ["phantom", "--settings", str(file), "--out", str(tmp_path / "out")],
        "report": ["report", "--config", str(file), f"--results={tmp_path / 'results'}", f"--out={tmp_path / 'out'}"],
    }[verb]
    assert f"{file}{said}" in refused(capsys, words)


SHEET = {
    "participant": ["p1"], "visit": [2], "ecg": ["e"], "cine": ["c"], "anchor": [""], "annotation": [""],
    "split": ["test"], "ed_frame": [pd.NA], "labels_map": [""], "origin": [""],
}  # fmt: skip


def test_an_error_of_the_system_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cof.cohort.write_table", full)
    monkeypatch.setattr(
        "cof.cohort._read_sheet", lambda _: pd.DataFrame(SHEET).assign(synthetic=False, es_phase=np.nan, group="")
    )
    assert "the disk: No space left on device" in refused(capsys, typed("cohort", tmp_path))


def test_configurations_are_laid_over_each_other_as_the_workflow_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.yaml").write_text("results: r\ngrid: { frames: 12 }\n")
    (tmp_path / "two.yaml").write_text("grid: { frames: 14 }\n")
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(SystemExit) as ended:
        cli.main(["config", str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml")])
    out, err = capsys.readouterr()
    assert not ended.value.code
    printed = yaml.safe_load(out)
    assert (printed["results"], printed["grid"]["frames"]) == ("r", 14)
    assert set(printed["models"]) == set(yaml.safe_load(Path("config.yaml").read_text())["models"])
    assert f"--configfile {tmp_path / 'one.yaml'} {tmp_path / 'two.yaml'} -- all" in err


def test_a_verb_says_last_what_it_made_and_what_to_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = '{"train": 1, "test": 1, "annotated": 1, "frames": 8, "slices": 5, "matrix": 64}'
    out, cohort, key = tmp_path / "phantom", tmp_path / "subjects.parquet", tmp_path / "key.parquet"
    code, said = run(capsys, "phantom", "--settings", settings, "--workers", "1", "--out", str(out))
    assert code == 0
    assert said.splitlines()[-1].startswith(f"phantom: wrote a synthetic cohort to {out}")
    assert f"Open {out / 'card.md'}" in said
    code, said = run(capsys, "cohort", "--sheet", str(out / "subjects.csv"), "--out", str(cohort), "--key", str(key))
    assert code == 0
    assert str(cohort) in said.splitlines()[-1]
    assert str(key) in said.splitlines()[-1]
    excluded = tmp_path / "x.parquet"
    words = ["ecg", f"--sheet={cohort}", f"--key={key}", f"--out={tmp_path / 'e'}", f"--exclusions={excluded}"]
    code, said = run(capsys, *words)
    assert (code, said.splitlines()[-1]) == (0, f"ecg: wrote {tmp_path / 'e'}; nobody left out")
    (out / "raw/ecg/sub-0001_20205_2_0.xml").unlink()
    code, said = run(capsys, *words, "--overwrite")
    assert said.splitlines()[-1] == f"ecg: wrote {tmp_path / 'e'}; 1 subjects left out, see {excluded}"


def test_every_verb_is_in_one_group_and_has_a_function() -> None:
    names = [verb for verbs in GROUPS.values() for verb in verbs]
    assert len(names) == len(set(names))
    assert {name.split()[0] for name in names if " " in name} == set(PARENTS)
    for name, target in TARGETS.items():
        assert command_of(name, target, "").callback is not None


@pytest.mark.parametrize("verb", TARGETS)
def test_every_option_says_what_it_is(verb: str) -> None:
    for one in options_of(function_at(TARGETS[verb])):
        assert one.told.help, one.name


def test_the_first_page_has_every_verb_once_in_the_panel_of_its_group() -> None:
    page = CliRunner().invoke(cli.app, ["--help"], terminal_width=200).output
    panels = dict(re.findall(r"╭─ (.+?) ─+╮\n(.*?)╰─", page, re.S))
    for group, verbs in GROUPS.items():
        shown = re.findall(r"^│ ([a-z-]+) ", panels[group], re.M)
        assert shown == list(dict.fromkeys(verb.split()[0] for verb in verbs)), group


def test_an_option_of_a_sub_command_is_told_with_its_whole_name() -> None:
    for words in (["sheet", "ukb", "--help"], ["sheet", "files", "--help"], ["sheet", "--help"]):
        assert "sheet" in CliRunner().invoke(cli.app, words).output
    assert "--withdrawn" in CliRunner().invoke(cli.app, ["sheet", "ukb", "--help"]).output


def test_verbs_and_options_are_completed() -> None:
    def completed(line: str) -> list[str]:
        asked = {"_COF_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        done = subprocess.run(
            [sys.executable, "-c", "from cof import cli; cli.app(prog_name='cof')"], env=os.environ | asked,
            text=True, capture_output=True,
        )  # fmt: skip
        return done.stdout.split()

    assert {"twin", "twins", "train"} <= set(completed("cof t"))
    assert "--exclusions" in completed("cof ecg --ex")


def test_what_is_typed_becomes_what_a_function_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def stage(
        *, subjects: Subjects, cine: EveryFolder, beats: EveryTable, out: Out, settings: SettingsOf[EcgSettings],
        splits: Splits = ("test",), devices: Devices = "auto", seed: Seed = 3, hidden: str = "own",
    ) -> None:  # fmt: skip
        seen.update(locals())

    monkeypatch.setattr("cof.ecg.stage.stage", stage, raising=False)
    subjects = pd.DataFrame({"subject": ["a", "b", "c"], "split": "test", "batch": ["b001", "b000", "b001"]})
    write_table(tmp_path / "subjects", subjects, stamp({}))
    (tmp_path / "cine").mkdir()
    words = [f"--subjects={tmp_path / 'subjects'}", f"--out={tmp_path / 'out'}"]
    words += [f"--cine={tmp_path / 'cine'}", f"--beats={tmp_path / 'cine'}"]
    command = command_of("stage", "cof.ecg.stage:stage", "")
    command.main(words, standalone_mode=False)
    assert seen["cine"] == [tmp_path / "cine/b000", tmp_path / "cine/b001"]
    assert isinstance(seen["cine"], Batches)
    assert seen["beats"] == [tmp_path / "cine/b000.parquet", tmp_path / "cine/b001.parquet"]
    assert (seen["settings"], seen["splits"], seen["devices"]) == (EcgSettings(), ("test",), "auto")
    assert (seen["seed"], seen["hidden"]) == (3, "own")
    more = ["--split=train", "--split=test", "--devices=2", '--settings={"min_seconds": 3}']
    command.main([*words, *more], standalone_mode=False)
    assert (seen["splits"], seen["devices"]) == (("train", "test"), 2)
    assert seen["settings"] != EcgSettings()
    assert "--hidden" not in {option for one in command.params for option in one.opts}


def test_help_is_fast_because_it_imports_no_stage_and_nothing_heavy() -> None:
    code = (
        "import sys\nfrom cof import cli\n"
        "try: cli.app(['--help'])\nexcept SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if name.startswith('cof.')))\n"
        "print(*sorted({'torch', 'pandas', 'numpy', 'pydantic', 'scipy', 'nnunetv2', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    *_, ours, heavy = done.stdout.split("\n")[:-1]
    assert heavy == ""
    assert set(ours.split()) == {"cof.cli", "cof.errors", "cof.renamed", "cof.verbs"}


def test_verbs_without_networks_import_no_torch() -> None:
    verbs = [
        "ecg",
        "beats",
        "cine",
        "cohort",
        "batch",
        "phantom",
        "table",
        "cost",
        "report",
        "privacy",
        "sheet ukb",
    ]
    code = "import sys\nfrom cof.commands import command_of\n"
    code += "".join(f"command_of({verb!r}, {TARGETS[verb]!r}, '')\n" for verb in verbs)
    code += "print(*sorted({'torch', 'lightning', 'monai', 'nnunetv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == ""
