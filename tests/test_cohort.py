import os
import re
import stat
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cof import cli, cohort
from cof.artefacts.parquet import read_provenance, read_table
from cof.cohort import build_cohort, select_batch
from cof.config.data import CohortSettings
from cof.errors import UsageError

HEADER = "subject,visit,ecg,cine"
IDENTITY = str(2 * 10**6 + 345678)  # shaped like a participant id


class Sheet:
    """Writes a sheet and builds its cohort."""

    def __init__(self, root: Path):
        self.root = root

    def build(self, text: str, **settings) -> pd.DataFrame:
        (self.root / "subjects.csv").write_text(text)
        self.out, self.key = self.root / "cohort/subjects.parquet", self.root / "cohort/key.parquet"
        asked = CohortSettings(**settings)
        self.split = build_cohort(sheet=self.root / "subjects.csv", out=self.out, key=self.key, settings=asked)
        return read_table(self.out).set_index("subject")

    def refused(self, text: str, **settings) -> str:
        with pytest.raises(UsageError) as caught:
            self.build(text, **settings)
        assert "\n" not in str(caught.value)
        assert not self.key.exists()
        return str(caught.value)

    def salt(self, content: str = "a long secret, kept elsewhere") -> str:
        (self.root / "salt.txt").write_text(content + "\n")
        return str(self.root / "salt.txt")


@pytest.fixture
def sheet(tmp_path):
    return Sheet(tmp_path)


def rows(count: int, visit: int = 2) -> list[str]:
    return [f"p{n:03d},{visit},e/{n}.xml,c/{n}.zip" for n in range(count)]


def test_names_paths_and_columns(sheet):
    table = sheet.build(
        f"{HEADER},anchor,annotation,split,ed_frame\nann-1,2,e.xml,c.zip,,a.nii.gz,train,7\nbob,3,,/abs/c.nii,,,test,\n"
    )
    assert list(table.reset_index().columns) == ["subject", "participant", "visit", "split", "batch", "annotated"]
    assert table.loc["ann-1-v2"].to_dict() == {
        "participant": "ann-1", "visit": 2, "split": "train", "batch": "b000", "annotated": True,
    }  # fmt: skip
    key = read_table(sheet.key).set_index("subject")
    folder = sheet.root.resolve()
    assert key.loc["ann-1-v2"].to_dict() == {
        "participant": "ann-1", "visit": 2, "ecg": f"{folder}/e.xml", "cine": f"{folder}/c.zip", "anchor": "",
        "annotation": f"{folder}/a.nii.gz", "ed_frame": 7, "labels_map": "",
    }  # fmt: skip
    assert key.loc["bob-v3", ["ecg", "cine"]].tolist() == ["", "/abs/c.nii"]
    assert pd.isna(key.loc["bob-v3", "ed_frame"])  # for the cine stage to find
    assert read_provenance(sheet.out)["config_hash"]


def test_files_that_do_not_exist_are_for_their_stage_to_find(sheet):
    assert len(sheet.build("\n".join([HEADER, *rows(3)]))) == 3


def test_cells_are_stripped_and_blank_lines_and_a_byte_order_mark_passed_over(sheet):
    table = sheet.build("\ufeffsubject, visit ,ecg,cine\n\n a , 2 ,e.xml, c.zip\n,,,\n")
    assert list(table.index) == ["a-v2"]
    assert read_table(sheet.key)["cine"][0].endswith("/c.zip")


def test_the_key_is_private_from_its_first_byte(sheet, monkeypatch):
    modes = []
    write = cohort.write_table

    def watched(path, table, provenance):
        replace = Path.replace

        def before(self, target):
            modes.append((path.name, stat.S_IMODE(self.stat().st_mode)))
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", before)
            write(path, table, provenance)

    monkeypatch.setattr(cohort, "write_table", watched)
    before = os.umask(0o022)
    try:
        sheet.build("\n".join([HEADER, *rows(2)]))
    finally:
        os.umask(before)
    assert modes == [("key.parquet", 0o600), ("subjects.parquet", 0o644)]
    assert stat.S_IMODE(sheet.key.stat().st_mode) == 0o600


def test_the_cohort_knows_no_raw_name(sheet):
    text = f"{HEADER}\n{IDENTITY},2,{IDENTITY}_20205_2_0.xml,{IDENTITY}_20209_2_0.zip\n"
    sheet.build(text, salt_file=sheet.salt())
    assert IDENTITY.encode() not in sheet.out.read_bytes()
    assert read_table(sheet.key)["participant"].tolist() == [IDENTITY]


def test_a_salt_gives_stable_letters_that_hang_on_salt_and_name_alone(sheet):
    text = "\n".join([HEADER, *rows(40), *rows(40, visit=3)])
    first = sheet.build(text, salt_file=sheet.salt())
    assert first["participant"].nunique() == 40
    for subject, participant in first["participant"].items():
        assert re.fullmatch(r"sub-[a-z]{8}", participant)
        assert re.fullmatch(rf"{participant}-v[23]", subject)
    lines = text.splitlines()
    again = sheet.build("\n".join([lines[0], *reversed(lines[11:])]), salt_file=sheet.salt())
    assert set(again["participant"]) <= set(first["participant"])
    pd.testing.assert_frame_equal(first.loc[again.index], again)
    other = sheet.build(text, salt_file=sheet.salt("another secret of some length"))
    assert not set(other["participant"]) & set(first["participant"])
    assert other["split"].value_counts().to_dict() == first["split"].value_counts().to_dict()


def test_pseudonyms_that_collide_are_refused(sheet, monkeypatch):
    monkeypatch.setattr(cohort, "_LETTERS", 1)
    assert "another salt" in sheet.refused("\n".join([HEADER, *rows(40)]), salt_file=sheet.salt())


def test_a_salt_must_be_there_and_long(sheet):
    assert "fewer than 16 bytes" in sheet.refused("\n".join([HEADER, *rows(2)]), salt_file=sheet.salt("short"))
    assert "No such file" in sheet.refused("\n".join([HEADER, *rows(2)]), salt_file=str(sheet.root / "none"))


@pytest.mark.parametrize("name", [IDENTITY, f"sub-{IDENTITY}", f"{IDENTITY}_20209_2_0"])
def test_without_a_salt_names_like_participant_ids_are_refused(sheet, name):
    said = sheet.refused(f"{HEADER}\na,2,e,c\n{name},2,e,c\n")
    assert "row 3, column 'subject'" in said
    assert "salt_file" in said
    assert IDENTITY not in said


@pytest.mark.parametrize("name", ["a b", "a/b", "../a", "ä", "-a", ".a", "a.b", "a" * 65])
def test_without_a_salt_names_must_be_fit_for_files(sheet, name):
    assert "row 2, column 'subject'" in sheet.refused(f"{HEADER}\n{name},2,e,c\n")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 999), min_size=2, max_size=30, unique=True), st.randoms())
def test_split_and_batch_hang_on_the_participant_alone(tmp_path_factory, numbers, random):
    sheet = Sheet(tmp_path_factory.mktemp("sheet"))
    lines = [f"p{n},{visit},e,c" for n in numbers for visit in (2, 3)]
    whole = sheet.build("\n".join([HEADER, *lines]), batches=7)
    random.shuffle(lines)
    part = sheet.build("\n".join([HEADER, *lines[: len(lines) // 2]]), batches=7)
    pd.testing.assert_frame_equal(part, whole.loc[part.index])
    assert (whole.groupby("participant")[["split", "batch"]].nunique() == 1).all(axis=None)
    assert list(whole.index) == sorted(whole.index)


def test_shares_and_batches_are_kept(sheet):
    shares = {"train": 0.6, "validation": 0.1, "test": 0.3}
    table = sheet.build("\n".join([HEADER, *(f"p{n},2,e,c" for n in range(3000))]), batches=4, split=shares)
    for split, share in shares.items():
        assert (table["split"] == split).mean() == pytest.approx(share, abs=0.03)
    assert set(table["batch"]) == {"b000", "b001", "b002", "b003"}
    assert table["batch"].value_counts(normalize=True).between(0.21, 0.29).all()
    # Splits are spread evenly over batches: the two hashes have nothing in common.
    assert pd.crosstab(table["batch"], table["split"], normalize="index")["test"].between(0.24, 0.36).all()


def test_shares_must_add_up(sheet):
    assert "add up to 0.9" in sheet.refused("\n".join([HEADER, *rows(2)]), split={"train": 0.7, "test": 0.2})


def test_a_split_without_a_share_gets_nobody(sheet):
    table = sheet.build("\n".join([HEADER, *rows(200)]), split={"train": 0.5, "test": 0.5})
    assert set(table["split"]) == {"train", "test"}


def test_annotated_subjects_train_unless_the_sheet_says_otherwise(sheet):
    lines = [f"p{n},2,e,c,a.nii" for n in range(30)] + [f"p{n},3,e,c," for n in range(30)]
    table = sheet.build("\n".join([f"{HEADER},annotation", *lines]))
    assert set(table["split"]) == {"train"}
    assert table["annotated"].sum() == 30
    assert str(sheet.split).endswith("60 train, 0 validation, 0 test; 60 in train, since annotated")
    for split in ("test", "validation"):
        table = sheet.build(f"{HEADER},annotation,split\na,2,e,c,a.nii,{split}\na,3,e,c,,\nb,2,e,c,a.nii,\n")
        assert table["split"].tolist() == [split, split, "train"]
        assert table["annotated"].tolist() == [True, False, True]


@pytest.mark.parametrize("shares", [{"test": 1.0}, {"validation": 0.5, "test": 0.5}])
def test_where_nothing_trains_annotated_subjects_are_drawn_as_all_others(sheet, shares):
    lines = [f"p{n},2,e,c,{'a.nii' if n % 2 else ''}" for n in range(200)]
    table = sheet.build("\n".join([f"{HEADER},annotation", *lines]), split=shares)
    plain = sheet.build("\n".join([HEADER, *rows(0), *(f"p{n},2,e,c" for n in range(200))]), split=shares)
    assert table["split"].tolist() == plain["split"].tolist()
    assert set(table["split"]) == set(shares)
    assert table["annotated"].sum() == 100


def test_an_annotated_participant_with_a_visit_without_a_cine_must_say_so(sheet):
    text = f"{HEADER},anchor,annotation,split\na,2,e,c,,a.nii,{{split}}\na,3,e,,x.nii,,\n"
    assert "row 2, column 'cine'" in sheet.refused(text.format(split=""))
    assert set(sheet.build(text.format(split="test"))["split"]) == {"test"}
    assert set(sheet.build(text.format(split=""), split={"test": 1})["split"]) == {"test"}


def test_the_split_is_told_with_its_reasons(sheet):
    lines = ["a,2,e,c,,,validation", "a,3,e,c,,,", "b,2,e,c,,n.nii,", "c,2,e,,x.nii,,", "d,2,e,c,,,test"]
    table = sheet.build("\n".join([f"{HEADER},anchor,annotation,split", *lines]))
    assert str(sheet.split) == (
        "5 subjects of 4 participants: 1 train, 2 validation, 2 test; 3 by the sheet, 1 in train, since annotated, "
        "1 in test, since without a cine"
    )
    assert not sheet.split.stated
    assert read_provenance(sheet.out)["split"] == str(sheet.split)
    table = sheet.build("\n".join([HEADER, *rows(12)]))
    counts = table["split"].value_counts()
    assert sheet.split.counts == {name: counts.get(name, 0) for name in cohort.SPLITS}
    assert str(sheet.split).endswith("test; 12 drawn by participant (75% train, 5% validation, 20% test)")
    sheet.build("\n".join([f"{HEADER},split", *(f"{row},train" for row in rows(3))]))
    assert sheet.split.stated


@pytest.mark.parametrize("column", ["", ",split"])
def test_the_verb_prints_the_split_and_how_to_choose_it(sheet, capsys, column):
    stated = ",test" if column else ""
    (sheet.root / "subjects.csv").write_text(f"{HEADER}{column}\na,2,e,c{stated}\nb,2,e,c{stated}\n")
    (sheet.root / "settings.yaml").write_text("split: { test: 1 }")
    asked = ["--sheet", "subjects.csv", "--out", "s.parquet", "--key", "k.parquet", "--settings", "settings.yaml"]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["cohort", *(str(sheet.root / text) if "." in text else text for text in asked)])
    said = capsys.readouterr().out
    assert not stopped.value.code
    assert "2 subjects of 2 participants: 0 train, 0 validation, 2 test; 2 " in said
    assert ("To choose, add a column split" in said) == (not column)


def test_maps_of_codes_come_from_the_sheet_and_then_from_the_settings(sheet):
    text = f'{HEADER},annotation,labels_map\na,2,e,c,a.nii,"3:1, 2:2"\nb,2,e,c,b.nii,\nc,2,e,c,,\n'
    for chosen, others in (({}, ""), ({"labels_map": "1:3,2:2,3:1"}, "1:3,2:2,3:1"), ({"labels_map": {4: 1}}, "4:1")):
        sheet.build(text, **chosen)
        assert read_table(sheet.key)["labels_map"].tolist() == ["2:2,3:1", others, ""]
    with pytest.raises(ValidationError, match="1:9 maps to 9"):
        CohortSettings(labels_map="1:9")


def sheet_of(root: Path) -> Sheet:
    root.mkdir()
    return Sheet(root)


def test_subjects_without_a_cine_are_tested(sheet):
    lines = [f"p{n},2,e,,a.nii," for n in range(30)]
    assert set(sheet.build("\n".join([f"{HEADER},anchor,split", *lines]))["split"]) == {"test"}
    said = sheet_of(sheet.root / "other").refused(f"{HEADER},anchor,split\na,2,e,,a.nii,train\n")
    assert "row 2, column 'cine'" in said


def test_visits_of_a_participant_share_the_split_of_either(sheet):
    table = sheet.build(f"{HEADER},split\n" + "".join(f"p{n},2,e,c,validation\np{n},3,e,c,\n" for n in range(20)))
    assert set(table["split"]) == {"validation"}
    said = sheet_of(sheet.root / "other").refused(f"{HEADER},split\na,2,e,c,train\nb,2,e,c,\na,3,e,c,test\n")
    assert "row 4, column 'split'" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (f"{HEADER}\n", "no row below the header"),
        ("subject,visit,ecg\na,2,e\n", "no column 'cine'"),
        (f"{HEADER},anotation\na,2,e,c,x\n", "did you mean 'annotation'"),
        (f"{HEADER},age\na,2,e,c,50\n", "unknown column 'age'"),
        (f"{HEADER},cine\na,2,e,c,c\n", "two columns 'cine'"),
        (f"{HEADER}\na,2,e,c,more\n", "not valid CSV"),
        (f"{HEADER}\na,2,e,c\n,2,e,c\n", "row 3, column 'subject'"),
        (f"{HEADER}\na,second,e,c\n", "row 2, column 'visit'"),
        (f"{HEADER}\na,2.0,e,c\n", "row 2, column 'visit'"),
        (f"{HEADER}\n\na,-2,e,c\n", "row 3, column 'visit'"),
        (f"{HEADER}\na,2,e,c\nb,2,e,c\na,2,e,d\n", "row 4, column 'subject'"),
        (f"{HEADER}\na,02,e,c\na,2,e,d\n", "row 3, column 'subject'"),
        (f"{HEADER}\na,2,e,c\nA,2,e,d\n", "upper and lower case"),
        (f"{HEADER},split\na,2,e,c,tets\n", "row 2, column 'split'"),
        (f"{HEADER},ed_frame\na,2,e,c,x\n", "row 2, column 'ed_frame'"),
        (f"{HEADER}\na,2,e,\n", "row 2, column 'cine'"),
        (f"{HEADER},annotation,labels_map\na,2,e,c,x.nii,1-3\n", "row 2, column 'labels_map': '1-3' is not a pair"),
        (f"{HEADER},anchor,annotation\na,2,e,,x.nii,y.nii\n", "row 2, column 'annotation'"),
        (f"{HEADER},anchor,ed_frame\na,2,e,,x.nii,3\n", "row 2, column 'ed_frame'"),
    ],
)
def test_a_faulty_sheet_is_one_line_that_names_row_and_column(sheet, text, said):
    assert said in sheet.refused(text)


def test_bytes_that_are_no_text_and_no_sheet_at_all(sheet):
    (sheet.root / "subjects.csv").write_bytes(b"subject,visit,ecg,cine\n\xff\xfe\xfa,2,e,c\n")
    for name, said in (("subjects.csv", "not UTF-8"), ("none.csv", "there is no subject sheet")):
        with pytest.raises(UsageError, match=said):
            build_cohort(
                sheet=sheet.root / name,
                out=sheet.root / "s.parquet",
                key=sheet.root / "k.parquet",
                settings=CohortSettings(),
            )


@pytest.fixture
def built(sheet):
    sheet.build("\n".join([HEADER, *rows(30), *rows(5, visit=3)]), batches=3)
    return sheet


def test_batches_part_the_cohort(built):
    parts = []
    for name in ("b000", "b001", "b002", "b003"):
        select_batch(subjects=built.out, batch=name, only=(), out=built.root / f"{name}.parquet")
        parts.append(read_table(built.root / f"{name}.parquet"))
        assert set(parts[-1]["batch"]) <= {name}
    assert parts[3].empty
    assert list(parts[3].columns) == list(parts[0].columns)
    together = pd.concat(parts).sort_values("subject", ignore_index=True)
    pd.testing.assert_frame_equal(together, read_table(built.out))


def test_only_selects_by_subject_and_by_participant(built):
    out = built.root / "only.parquet"
    select_batch(subjects=built.out, batch="only-12345678", only=("p001", "p002-v3", "p020"), out=out)
    assert read_table(out)["subject"].tolist() == ["p001-v2", "p001-v3", "p002-v3", "p020-v2"]


def test_an_unknown_subject_is_named_with_the_nearest_known(built):
    with pytest.raises(UsageError, match="'p001-v9'; did you mean 'p001-v"):
        select_batch(subjects=built.out, batch="only-x", only=("p001", "p001-v9"), out=built.root / "o.parquet")
    with pytest.raises(UsageError) as caught:
        select_batch(subjects=built.out, batch="only-x", only=(IDENTITY,), out=built.root / "o.parquet")
    assert IDENTITY not in str(caught.value)
    assert not (built.root / "o.parquet").exists()


def test_the_same_sheet_gives_the_same_bytes(sheet):
    text = "\n".join([HEADER, *rows(10)])
    sheet.build(text)
    first = sheet.out.read_bytes(), sheet.key.read_bytes()
    sheet.build(text)
    assert first == (sheet.out.read_bytes(), sheet.key.read_bytes())


def test_a_pair_has_a_phase_and_one_file(sheet):
    table = sheet.build(f"{HEADER},es_phase,group\na,1,,a.nii,0.4,HCM\nb,1,e.xml,c.zip,,\n")
    assert table["es_phase"].isna().tolist() == [False, True]
    assert table.loc["a-v1", "es_phase"] == 0.4
    assert table["group"].tolist() == ["HCM", ""]
    assert sheet.split.pairs == 1


def test_a_sheet_without_pairs_and_groups_has_no_column_of_them(sheet):
    table = sheet.build(f"{HEADER},es_phase,group\na,1,e.xml,c.zip,,\n")
    assert not {"es_phase", "group"} & set(table.columns)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,1,,a.nii,,,1.2,", "row 2, column 'es_phase': '1.2' is not a phase"),
        ("a,1,,a.nii,,,0,", "row 2, column 'es_phase': '0' is not a phase"),
        ("a,1,,a.nii,,,nan,", "row 2, column 'es_phase': 'nan' is not a phase"),
        ("a,1,,a.nii,,,soon,", "row 2, column 'es_phase': 'soon' is not a phase"),
        ("a,1,e.xml,,a.nii,,0.4,", "row 2, column 'es_phase': a pair of ED and ES is one file, in the column 'cine'"),
        ("a,1,,a.nii,a.nii,,0.4,", "row 2, column 'es_phase': a pair of ED and ES is one file"),
        ("a,1,,a.nii,,1,0.4,", "row 2, column 'ed_frame': a pair of ED and ES begins with ED"),
        ("a,1,,a.nii,,,,a heart", "row 2, column 'group': 'a heart' is not allowed"),
        (f"a,1,,a.nii,,,,{IDENTITY}", "row 2, column 'group': '<id>' is not allowed"),
    ],
)
def test_pairs_and_groups_that_make_no_sense_are_refused(sheet, row, said):
    assert said in sheet.refused(f"{HEADER},anchor,ed_frame,es_phase,group\n{row}\n")


def test_several_sheets_make_one_cohort(tmp_path):
    for name, text in (("one", "a,1,,a.nii,0.4,real"), ("two", "b,1,e.xml,c.zip,,")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "subjects.csv").write_text(f"{HEADER},es_phase,origin\n{text}\n")
    (tmp_path / "two/card.json").write_text('{"arm": "population", "couplings": {}}')
    sheets = [tmp_path / name / "subjects.csv" for name in ("one", "two")]
    out, key = tmp_path / "subjects.parquet", tmp_path / "key.parquet"
    build_cohort(sheet=sheets, out=out, key=key, settings=CohortSettings())
    assert read_table(out)[["subject", "origin"]].to_numpy().tolist() == [["a-v1", "real"], ["b-v1", "simulated"]]
    raw = read_table(key).set_index("subject")  # paths begin where their own sheet lies
    assert raw["cine"].to_dict() == {"a-v1": f"{tmp_path}/one/a.nii", "b-v1": f"{tmp_path}/two/c.zip"}
    # The cohort hangs on rows, not on the sheets that they stand in.
    before = out.read_bytes()
    build_cohort(sheet=sheets[::-1], out=out, key=key, settings=CohortSettings())
    assert out.read_bytes() == before


def test_faults_of_several_sheets_name_theirs(tmp_path):
    for name, text in (("one.csv", "a,1,,a.nii"), ("two.csv", "a,1,e.xml,c.zip")):
        (tmp_path / name).write_text(f"{HEADER}\n{text}\n")
    sheets = [tmp_path / "one.csv", tmp_path / "two.csv"]
    out, key = tmp_path / "subjects.parquet", tmp_path / "key.parquet"
    with pytest.raises(UsageError, match=r"row 2 of .*two\.csv, column 'subject': .*an earlier row"):
        build_cohort(sheet=sheets, out=out, key=key, settings=CohortSettings())
    (tmp_path / "two.csv").write_text(f"{HEADER}\nb,1,e.xml,\n")
    with pytest.raises(UsageError, match=r"two\.csv: subject sheet, row 2, column 'cine'"):
        build_cohort(sheet=sheets, out=out, key=key, settings=CohortSettings())
