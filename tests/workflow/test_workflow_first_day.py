"""Somebody's first day: files as hospitals hand them over go by the worked example of the docs, typed as it stands."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import known_strips
import numpy as np
import pandas as pd
import patients
import pytest
from running import ENVIRONMENT, REPOSITORY

from cof.cine.volume import read_cine
from cof.phantom.cardiosoft import write_ecg
from cof.twins.cautions import RATES

pytestmark = pytest.mark.slow

DOCS = REPOSITORY / "docs/start/your-data.md"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What a checkout holds for those who run it.
CHECKOUT = ("Snakefile", "config.yaml", "profiles", "weights", "workflow")
NOTICE = "Labels by a network trained on simulated hearts"


def example() -> list[tuple[str, str]]:
    """The blocks of the worked example, each with its language, in order."""
    (section,) = re.findall(r"^## A worked example\n(.*?)^## ", DOCS.read_text(), re.S | re.M)
    return re.findall(r"^```(\w+)\n(.*?)^```", section, re.S | re.M)


def write_files(folder: Path) -> dict[str, patients.Patient]:
    """Five patients in the forms of four scans and four recorders; p03's ECG is slower, p05's archive cut off."""
    hearts = {
        "p01": patients.patient("walk-in-01"),
        "p02": patients.patient("walk-in-07"),
        "p03": patients.patient("walk-in-03", hr_ecg_bpm=46.0),
        "p04": patients.patient("walk-in-04"),
    }
    for name in (*hearts, "p05"):
        (folder / name).mkdir(parents=True)
    for name, record in {"p01": known_strips.muse, "p03": known_strips.wfdb, "p04": known_strips.dicom}.items():
        record(folder / name, patients.strip(hearts[name]))
    write_ecg(folder / "p02/ecg.xml", hearts["p02"].latents, patients.SEED)
    for name, form in {"p01/sax": "ge", "p02/sax.zip": "siemens", "p03/sax.dcm": "enhanced"}.items():
        patients.write_dicom(folder / name, form, hearts[name[:3]])
    patients.write_nifti(folder / "p04/sax.nii.gz", hearts["p04"])
    patients.write_drawn(folder / "p02/labels.nii.gz", hearts["p02"])
    patients.write_drawn(folder / "p04/labels.nii.gz", hearts["p04"], codes=(3, 2, 1))
    shutil.copy(folder / "p01/ecg.xml", folder / "p05/ecg.xml")
    whole = (folder / "p02/sax.zip").read_bytes()
    (folder / "p05/sax.zip").write_bytes(whole[: len(whole) // 2])
    return hearts


def tree(folder: Path) -> str:
    """Folders and files as the docs draw them; of a folder of DICOM files the name alone."""
    lines = [folder.name]
    people = sorted(folder.iterdir())
    for person in people:
        lines.append(f"{'└──' if person is people[-1] else '├──'} {person.name}")
        files = sorted(person.iterdir())
        for file in files:
            lines.append(
                f"{' ' if person is people[-1] else '│'}   {'└──' if file is files[-1] else '├──'} {file.name}"
            )
    return "\n".join(lines) + "\n"


@dataclass
class Day:
    """Commands as typed, and their results.

    Attributes:
        root: where it was typed; hearts: the truth by folder; said: what each block of commands printed; early: who was
            left out before the sheet was mended.
    """

    root: Path
    hearts: dict[str, patients.Patient]
    said: list[str] = field(default_factory=list)
    early: str = ""

    @property
    def results(self) -> Path:
        return self.root / "results/own"

    def type(self, commands: str) -> None:
        environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}\n{done.stdout[-6000:]}"
        self.said.append(done.stdout)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """The example, block by block: commands are run, files written, and what it shows is what there is."""
    root = tmp_path_factory.mktemp("checkout")
    for name in CHECKOUT:
        (root / name).symlink_to(REPOSITORY / name)
    day = Day(root, write_files(root / "mydata"))
    install, *blocks = example()
    assert install == ("sh", "make install\nsource .venv/bin/activate\n")
    for language, text in blocks:
        if language == "sh":
            day.type(text)
        elif language == "yaml":
            name = text.partition("\n")[0].removeprefix("# ")
            (root / name).write_text(text)
        elif language == "csv":
            day.early = day.said[-1]
            rows = list(csv.DictReader(io.StringIO(text)))
            made = list(csv.DictReader((root / "subjects.csv").open()))
            assert [{name: row[name] for name in made[0]} for row in rows] == made
            (root / "subjects.csv").write_text(text)
        elif text.startswith("mydata"):
            assert text == tree(root / "mydata")
        else:
            assert text in day.said[-1]
    return day


def test_what_cannot_be_used_is_said_before_anything_is_computed(day: Day) -> None:
    sheet, early, *_ = day.said
    assert "left out" not in sheet
    assert "no network is trained here: subjects whose sheet names no split go into" in early
    assert day.early == early
    rows = list(csv.DictReader(io.StringIO(early[early.index("subject,stage,reason,message") :])))
    assert [(row["subject"], row["stage"], row["reason"]) for row in rows] == [
        ("p05-v1", "cine", "cine_unreadable"),
        ("p04-v1", "annotations", "annotation_codes"),
    ]
    assert "labels_map" in rows[1]["message"]
    assert "1:3,2:2,3:1" in rows[1]["message"]


def test_nobody_else_is_left_out_and_all_are_tested(day: Day) -> None:
    excluded = pd.read_parquet(day.results / "exclusions")
    assert list(zip(excluded["subject"], excluded["reason"])) == [("p05-v1", "cine_unreadable")]
    subjects = pd.read_parquet(day.results / "cohort/subjects.parquet")
    assert set(subjects["split"]) == {"test"}
    assert set(subjects.loc[subjects["annotated"], "subject"]) == {"p02-v1", "p04-v1"}


def test_pixels_and_times_came_through_every_form(day: Day) -> None:
    for name, heart in day.hearts.items():
        cine = read_cine(day.results / f"cine/b000/{name}-v1.nii")
        np.testing.assert_array_equal(np.roll(cine.frames, cine.rolled_by, axis=0), heart.frames, name)
        np.testing.assert_allclose(cine.affine, heart.stack.affine(), atol=1e-4)
        assert cine.rr_ms == pytest.approx(heart.latents.rr_cmr_ms, abs=1), name


class Page(HTMLParser):
    """The visible words of a page by section (`head` before the first) and by subject, and the cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text: dict[str, str] = {"head": ""}
        self.subjects: list[str] = []
        self.tables: list[list[str]] = []
        self._within, self._open = "head", []
        self.feed(text)
        self.text = {name: " ".join(words.split()) for name, words in self.text.items()}
        self.subjects = [" ".join(words.split()) for words in self.subjects]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "article", "td"):
            self._open.append(tag)
        if tag == "section":
            self._within = str(dict(attrs)["id"])
            self.text[self._within] = ""
        self.subjects += [""] * (tag == "article" and self._within == "hearts")
        if tag == "table":
            self.tables.append([])
        if tag == "td":
            self.tables[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        if "script" in self._open or "style" in self._open:
            return
        self.text[self._within] += f" {data}"
        if "article" in self._open and self._within == "hearts":
            self.subjects[-1] += f" {data}"
        if "td" in self._open:
            self.tables[-1][-1] += data


@pytest.fixture(scope="module")
def page(day: Day) -> Page:
    return Page((day.results / "report/index.html").read_text())


def test_the_page_says_on_whose_hearts_the_networks_were_trained(page: Page) -> None:
    assert re.search(rf"{NOTICE}\. It was trained on 32 simulated hearts \(.*?weights/bench\)\.", page.text["head"])
    assert "Data of real people" in page.text["head"]
    for section in ("hearts", "numbers", "experts", "quality", "training"):
        assert NOTICE in page.text[section], section
    assert len(page.subjects) == 3
    assert all(NOTICE in subject for subject in page.subjects)


def test_the_page_warns_of_the_one_heart_that_deserves_it(page: Page) -> None:
    assert "To check 1" in page.text["head"]
    for subject in page.subjects:
        assert ("Check this heart" in subject) == subject.startswith("p03-v1")
    (warned,) = (subject for subject in page.subjects if subject.startswith("p03-v1"))
    assert "RR interval of the ECG over that of the scan 1.68, plausible is 0.67 to 1.5" in warned


def test_the_page_says_that_four_hearts_are_few(page: Page) -> None:
    assert "Only 4 subjects, fewer than 10" in page.text["numbers"]
    assert "Only 2 subjects, fewer than 10" in page.text["experts"]


def test_the_page_shows_the_experts(page: Page, day: Day) -> None:
    experts = page.text["experts"]
    assert "2 subjects, not used to train the labeller" in experts
    for name in ("p02", "p04"):
        (row,) = re.findall(rf"{name}-v1((?: [\d.]+)+)", experts)
        edv_ml, labelled_ml, *_ = numbers = [float(value) for value in row.split()]
        assert edv_ml == pytest.approx(day.hearts[name].edv_ml, abs=0.06)
        assert labelled_ml == pytest.approx(edv_ml, rel=0.1)
        lv_at_ed, *others = numbers[-6:]
        assert lv_at_ed > 0.95
        assert min(others) > 0.75
    assert f"EDV (mL) {day.hearts['p02'].edv_ml:.1f} " in page.subjects[1]


def test_the_page_has_no_empty_table(page: Page) -> None:
    for cells in page.tables:
        assert {" ".join(cell.split()) for cell in cells} - {"", "–", "not known", "no such quantity"}, cells
    exact = "Segmentation and function against the exact truth of the synthetic cohort"
    assert f"The table “{exact}” is left out" in page.text["numbers"]
    assert f"{exact} 4 held-out subjects" not in page.text["numbers"]


def test_the_page_says_which_controls_a_cohort_without_training_hearts_cannot_have(page: Page, day: Day) -> None:
    note = "Left out, because this cohort has no training subjects and no other run has trained them"
    assert f"{note}: Random Sample, Population-mean motion." in page.text["numbers"]
    assert "no training subjects: mean_motion, random left out of the tables" in day.early
    assert set(pd.read_csv(day.results / "tables/table1.csv")["model"]) == {"cof", "static", "oracle"}


def test_the_page_lists_who_was_left_out(page: Page) -> None:
    assert "p05-v1" in page.text["cohort"]
    assert "cine_unreadable" in page.text["cohort"]


def test_one_heart_alone_warns_of_the_same(day: Day) -> None:
    summary = json.loads((day.root / "twin-p03/summary.json").read_text())
    (warning,) = summary["warnings"]
    assert (warning["check"], warning["of"]) == ("rr_ratio", RATES)
    assert summary["trained_on"]["labeller"]["notice"] == NOTICE[0].lower() + NOTICE[1:]
    for said in (warning["message"], summary["trained_on"]["labeller"]["notice"]):
        assert said in day.said[-1]


@pytest.mark.skipif(BROWSER is None, reason="the page was not looked at: Chromium is not installed")
def test_the_hearts_beat_in_a_browser(day: Day, tmp_path: Path) -> None:
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=12000", "--window-size=1280,1600", "--dump-dom",
        (day.results / "report/index.html").as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert shown.count('data-ready="yes"') == 3
