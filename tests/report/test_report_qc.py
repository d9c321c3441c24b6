"""Quality pages: who gets one, what it says, and that every address leads somewhere."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ring_hearts import BLURRED, FRAMES, SLICES, blur
from test_report_page import Page, browse, needs_browser

from cof.config.evaluation import ReportSettings
from cof.quality.catalogue import MEASURES
from cof.report import qc
from cof.report.judged import Judged
from cof.report.stage import make_report

MEASURE = next(measure for measure in MEASURES if measure.key == "blur")


@pytest.fixture(scope="module")
def report(tiny_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages") / "report"
    make_report(results=tiny_results, config=tiny_results / "config.json", out=out)
    return out


def judged(flags: list[int]) -> list[Judged]:
    return [Judged(f"sub-{k:04d}-v2", "b000", "train", {}, [MEASURE] * n, []) for k, n in enumerate(flags)]


def test_pages_go_to_the_most_flagged_and_evenly_to_others() -> None:
    cohort = judged([0, 1, 0, 3, 2, 0, 0, 0])
    chosen = qc.choose(cohort, ReportSettings(qc_flagged=2, qc_others=3))
    assert [subject.name[4:8] for subject in chosen] == ["0003", "0004", "0000", "0005", "0007"]
    assert qc.choose(cohort, ReportSettings(qc_flagged=0, qc_others=0)) == []


def test_a_cohort_of_ten_thousand_stays_at_the_configured_number_of_pages() -> None:
    cohort = judged(list(np.arange(10_000) % 2))
    assert len(qc.choose(cohort, ReportSettings())) == 520


def test_one_flagged_and_two_others_have_their_files(report: Path) -> None:
    pages = sorted(path.stem for path in (report / "qc").glob("sub-*.html"))
    assert len(pages) == 3
    assert BLURRED in pages
    files = {path.name for path in (report / "qc/assets").iterdir()}
    hearts = {f"{name}{end}" for name in pages for end in (".webp", "-volume-light.svg", "-volume-dark.svg")}
    assert hearts <= files
    assert files - hearts <= {f"{name}-ecg.webp" for name in pages}
    assert sum(path.stat().st_size for path in (report / "qc").rglob("*")) < 3 * 300_000


def test_every_page_is_well_formed_and_its_addresses_lead_somewhere(report: Path) -> None:
    for path in (report / "qc").glob("*.html"):
        page = Page(path.read_text())
        assert page.open == []
        for tag, attributes in page.elements:
            for key in ("src", "href", "srcset"):
                address = attributes.get(key, "data:,").partition("#")[0]
                assert address == "data:," or (path.parent / address).is_file(), address
            if tag == "img":
                assert attributes["alt"].strip()
            if tag == "svg":
                assert attributes["aria-label"].strip()


def test_a_page_says_what_is_beyond_its_limit(report: Path) -> None:
    text = Page((report / "qc" / f"{BLURRED}.html").read_text()).text
    assert "flagged: blur" in text
    assert "blur 0.900 flagged 0.330 1 of 6 at most 0.6" in text
    other = next(path for path in (report / "qc").glob("sub-*.html") if path.stem != BLURRED)
    assert "no flag" in Page(other.read_text()).text


def test_the_sheet_holds_every_slice_at_two_moments(report: Path) -> None:
    text = (report / "qc" / f"{BLURRED}.html").read_text()
    left, _, columns, rows = (int(value) for value in re.findall(r'viewBox="(\d+) (\d+) (\d+) (\d+)"', text)[1])
    with Image.open(report / f"qc/assets/{BLURRED}.webp") as sheet:
        assert sheet.size == (2 * columns, SLICES * rows)
    assert left == columns
    assert f"ES, frame {FRAMES // 2}" in text


def test_the_table_lists_every_measured_subject(report: Path) -> None:
    table = pd.read_csv(report / "qc/quality.csv", keep_default_na=False)
    assert len(table) == 6
    assert list(table.loc[table["flags"] != "", "subject"]) == [BLURRED]
    assert dict(zip(table["subject"], table["blur"])) == pytest.approx({name: blur(name) for name in table["subject"]})
    text = Page((report / "qc/index.html").read_text()).text
    for name in table["subject"]:
        assert name in text
    assert "0.900*" in text


def test_summary_counts_the_flagged(report: Path) -> None:
    text = Page((report / "index.html").read_text()).text
    assert re.search(r"blur 0\.330 \S+ to \S+ at most 0\.6 1 – 0", text)


def test_pages_without_cines_and_ecgs_still_stand(tiny_results: Path, tmp_path: Path) -> None:
    partial = tmp_path / "results"
    shutil.copytree(tiny_results, partial)
    for folder in ("cine", "ecg", "beats"):
        shutil.rmtree(partial / folder)
    make_report(results=partial, config=partial / "config.json", out=tmp_path / "report")
    text = Page((tmp_path / "report/qc" / f"{BLURRED}.html").read_text()).text
    assert "flagged: blur" in text
    assert "The heart and its labels" not in text


@needs_browser
def test_a_click_sorts_the_table(report: Path, tmp_path: Path) -> None:
    """With the worst blur first, the flagged subject leads; unknown values stay last."""
    script = """<script>addEventListener("load", () => {
      const heading = [...document.querySelectorAll("th button")].find((b) => b.textContent === "blur");
      heading.click(); heading.click();
      document.title = document.querySelector("#subjects tbody th").textContent;
    });</script>"""
    copy = tmp_path / "copy"
    shutil.copytree(report, copy)
    index = copy / "qc/index.html"
    index.write_text(index.read_text().replace("</body>", script + "</body>"))
    assert f"<title>{BLURRED}</title>" in browse(index, tmp_path / "profile", 1280, "--dump-dom")
