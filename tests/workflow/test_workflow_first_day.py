"""Somebody's first day: files as hospitals hand them over go by the worked example of the docs, typed as it stands there."""

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

import pandas as pd
import patients
import pytest
import strips
from conftest import ENVIRONMENT, REPOSITORY

from cof.phantom.cardiosoft import write_ecg

pytestmark = pytest.mark.slow

DOCS = REPOSITORY / "docs/bring-your-own-data.md"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What a checkout holds for those who run it.
CHECKOUT = ("Snakefile", "config.yaml", "profiles", "weights", "workflow")
NOTICE = "Labels by a network trained on simulated hearts"


def example() -> list[tuple[str, str]]:
    """The blocks of the worked example, each with its language, in order."""
    (section,) = re.findall(r"^## A worked example\n(.*?)^## ", DOCS.read_text(), re.S | re.M)
    return re.findall(r"^```(\w+)\n(.*?)^```", section, re.S | re.M)


def write_files(folder: Path) -> dict[str, patients.Patient]:
    """Six patients: four scanners' forms, four recorders'; p05's ECG at rest, its scan not; p06's archive cut off."""
    hearts = {f"p{number:02d}": patients.patient(f"walk-in-{number:02d}") for number in (1, 7, 3, 4)}
    hearts = dict(zip(("p01", "p02", "p03", "p04"), hearts.values()))
    hearts["p05"] = patients.patient("walk-in-06", hr_ecg_bpm=44.0, hr_cmr_bpm=84.0)
    for name in (*hearts, "p06"):
        (folder / name).mkdir(parents=True)
    recorded = {name: patients.strip(heart) for name, heart in hearts.items()}
    strips.muse(folder / "p01", recorded["p01"])
    strips.wfdb(folder / "p03", recorded["p03"])
    strips.dicom(folder / "p05", recorded["p05"])
    for name in ("p02", "p04"):
        write_ecg(folder / name / "ecg.xml", hearts[name].latents, 7)
    patients.write_dicom(folder / "p01/sax", "ge", hearts["p01"])
    patients.write_dicom(folder / "p02/sax.zip", "siemens", hearts["p02"])
    patients.write_dicom(folder / "p03/sax.dcm", "enhanced", hearts["p03"])
    patients.write_nifti(folder / "p04/sax.nii.gz", hearts["p04"])
    patients.write_dicom(folder / "p05/sax", "ge", hearts["p05"])
    patients.write_drawn(folder / "p02/labels.nii.gz", hearts["p02"])
    patients.write_drawn(folder / "p04/labels.nii.gz", hearts["p04"], codes=(3, 2, 1))
    shutil.copy(folder / "p01/ecg.xml", folder / "p06/ecg.xml")
    whole = (folder / "p02/sax.zip").read_bytes()
    (folder / "p06/sax.zip").write_bytes(whole[: len(whole) // 2])
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
    """What was typed and what came of it.

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
