"""The HTML page: whole, partial, without ids, the same bytes twice, and alive in a real browser."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ring_hearts import BAD_ANNOTATION, BROKEN_ECG, FEW_SLICES, SLICES, SPACING, amplitude_mm, radius_mm

from browser import browse, needs_browser
from cof.artefacts.exclusions import Exclusions
from cof.errors import Reason, UsageError
from cof.features.artefacts import write_features
from cof.report.page import SECTIONS, TEMPLATES
from cof.report.stage import make_report

VOID = {"meta", "link", "img", "input", "source", "br", "hr"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and its visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += " " + data


def report(results: Path, out: Path) -> Page:
    make_report(results=results, config=results / "config.json", out=out)
    return Page((out / "index.html").read_text())


@pytest.fixture(scope="session")
def folder(tiny_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report"
    make_report(results=tiny_results, config=tiny_results / "config.json", out=out)
    return out


@pytest.fixture(scope="session")
def page(folder: Path) -> Page:
    return Page((folder / "index.html").read_text())


def test_page_is_well_formed_and_accessible(page: Page) -> None:
    assert page.open == []
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == tags.count("main") == tags.count("nav") == tags.count("header") == 1
    assert ("html", {"lang": "en"}) in page.elements
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        if tag == "img":
            assert attributes["alt"].strip()
        if tag == "canvas":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
        if tag == "section":
            assert attributes["aria-labelledby"] in ids


def test_sections_and_contents_stand_in_the_order_of_the_one_list(page: Page) -> None:
    # Nobody of this run came with an expert's contours.
    names = [section.name for section in SECTIONS if section.name != "experts"]
    assert [attributes["id"] for tag, attributes in page.elements if tag == "section"] == names
    links = [attributes["href"].removeprefix("#") for tag, attributes in page.elements if tag == "a"]
    first = links.index(names[0])
    assert links[first : first + len(names)] == names
    assert {path.stem for path in (TEMPLATES / "sections").iterdir()} == {section.name for section in SECTIONS}


def test_every_address_is_a_file_of_the_report_or_an_anchor(folder: Path, page: Page) -> None:
    ids = {attributes.get("id") for _, attributes in page.elements}
    used: set[str] = set()
    for _, attributes in page.elements:
        for key in ("src", "href", "srcset"):
            address = attributes.get(key, "data:,")
            if address.startswith("#"):
                assert address[1:] in ids
            elif address != "data:,":
                file = address.partition("#")[0]
                assert (folder / file).is_file(), address
                used.add(file)
    # The script of the table of quality belongs to the pages under qc/.
    written = {f"assets/{path.name}" for path in (folder / "assets").iterdir()} - {"assets/qc.js"}
    assert used == written | {"qc/index.html", "cost.html"}


def test_nothing_is_loaded_from_a_network(folder: Path) -> None:
    for path in [folder / "index.html", *sorted((folder / "assets").glob("*.[cj]s*"))]:
        assert not re.search(r"""(src|href|srcset)=["'](https?:)?//|@import|url\(|fetch\(|XMLHttp""", path.read_text())


def test_no_participant_id_reaches_the_report(folder: Path, page: Page) -> None:
    shape = re.compile(r"(?<!\d)[1-6]\d{6}(?!\d)")
    for path in folder.rglob("*"):
        assert not shape.search(path.name)
        if path.suffix in (".html", ".svg", ".js", ".css"):
            # A configuration's hash may happen to hold seven digits in a row, and is no one's id.
            found = shape.search(re.sub(r"<code>[0-9a-f]{12}</code>", "", path.read_text()))
            assert found is None, f"{path.name}: {found}"
    # The message of the exclusion row is shown as text: blanked out, its markup inert.
    assert "no XML <b>at all</b> in <id>_20205_2_0.xml" in page.text


def test_same_results_give_the_same_bytes(tiny_results: Path, folder: Path, tmp_path: Path) -> None:
    report(tiny_results, tmp_path / "again")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes(), path.name


def test_cohort_counts_and_exclusions(page: Page) -> None:
    assert "training 3 2 3" in page.text
    assert "held out 3 3 0" in page.text
    assert "ecg 12-lead ECG read 6 of 7 1" in page.text
    assert "cine short-axis cine stacked 6 of 7 1" in page.text
    assert "twins cof held-out hearts generated 2 of 3 0" in page.text
    assert f"{BROKEN_ECG} ecg ecg_unreadable" in page.text
    assert f"{FEW_SLICES} cine cine_too_few_slices 3 slices, at least 5 are needed" in page.text
    assert f"{BAD_ANNOTATION} annotations annotation_unreadable no frame is labelled" in page.text
    assert "Left out 2" in page.text
    assert "quality quality within the limits 6 of 7 0" in page.text


def test_how_the_cohort_was_split_is_said(page: Page) -> None:
    assert "the split, and why. To change this, set the column split of the sheet" in re.sub(r"\s+", " ", page.text)


def test_stages_that_only_some_configurations_have_tell_whom_they_left_out(tiny_results: Path, tmp_path: Path) -> None:
    results = shutil.copytree(tiny_results, tmp_path / "results")
    config = json.loads((results / "config.json").read_text())
    config["models"]["true_motion"] = {"family": "oracle", "registration": "truth"}
    config["tables"]["table1"]["metrics"].append("fd_imagenet")
    config["intervals"] = {"models": ["cof"]}
    (results / "config.json").write_text(json.dumps(config))
    gone = {"fields/truth": ("b000", "sub-0004-v2"), "features/cof": ("b001", "sub-0005-v2"), "features/real": None}
    gone |= {"calibration/twins/cof": ("b000", "sub-0003-v2"), "calibration/metrics/cof": None}
    for folder, left_out in gone.items():
        for batch in ("b000", "b001"):
            excluded = Exclusions(folder.removeprefix("calibration/").split("/")[0])
            if left_out and left_out[0] == batch:
                excluded.add(left_out[1], Reason.UNEXPECTED, "a broken file")
            excluded.write(results / f"exclusions/{folder}/{batch}.parquet")
    for batch, subject in (("b000", "sub-0004-v2"), ("b001", "sub-0005-v2")):
        write_features(
            results / f"features/real/{batch}.safetensors", {subject: {"imagenet": torch.zeros(2, 1, 4)}}, {}
        )
    page = report(results, tmp_path / "report")
    assert "features real features of held-out hearts 2 of 3 0" in page.text
    assert "features cof features of held-out hearts not in this run ( features/cof )" in page.text
    assert "sub-0005-v2 features cof unexpected a broken file" in page.text
    assert "sub-0004-v2 fields truth unexpected a broken file" in page.text
    assert "sub-0003-v2 twins cof, calibration unexpected a broken file" in page.text
    assert "twins cof, calibration validation hearts generated" in page.text
    assert "the exclusions of features static" in page.text
    assert "Left out 5" in page.text


def test_funnel_counts_each_subject_at_the_first_stage_that_lost_it(page: Page) -> None:
    alts = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    funnel = next(alt for alt in alts if alt.startswith("Subjects left"))
    assert "came in 7; 12-lead ECG read 6; cardiac cycle chosen 6; short-axis cine stacked 5; every frame" in funnel


def test_card_of_the_cohort(tiny_results: Path, page: Page) -> None:
    card = json.loads((tiny_results / "phantom/card.json").read_text())
    explained = card["couplings"]["r2_ef_given_ecg"]
    assert f"share of the variance of EF that ECG features explain (R²): {explained:.2f}" in page.text
    edv = card["cohort"]["calibration"]["edv_ml"]
    assert re.search(rf"edv ml 144\.1 ± 34\.4 \S+ ± \S+ {edv['mean']:.1f} ± {edv['sd']:.1f}", page.text)


def test_shown_hearts_are_held_out_and_have_a_heart(page: Page) -> None:
    shown = re.findall(r"(sub-\d{4}-v\d) 60 bpm in the scanner", page.text)
    assert shown == ["sub-0004-v2", "sub-0005-v2"]


def test_the_page_of_a_heart_is_copied_beside_the_report(tiny_results: Path, page: Page, tmp_path: Path) -> None:
    results = shutil.copytree(tiny_results, tmp_path / "results")
    made = results / "exports/cof/sub-0004-v2/page/sub-0004-v2.html"
    made.parent.mkdir(parents=True)
    made.write_text("<p>a heart</p>")
    found = report(results, tmp_path / "report")
    links = [attributes["href"] for tag, attributes in found.elements if tag == "a" and "sub-" in attributes["href"]]
    assert [link for link in links if link.startswith("assets/")] == ["assets/sub-0004-v2.html"]
    assert (tmp_path / "report/assets/sub-0004-v2.html").read_text() == made.read_text()
    assert "The generated heart in 3-D" not in page.text


def test_function_numbers_match_the_closed_form(page: Page) -> None:
    """The ring heart's volume is a sum of discs, pi r^2 times the slice distance."""
    number = r"([\d.]+) ([\d.]+) ([\d.]+)"
    tables = re.findall(rf"EDV \(mL\) {number} ESV \(mL\) {number} SV \(mL\) {number} EF \(%\) {number}", page.text)
    assert len(tables) == 2
    columns = [(subject, model) for subject in ("sub-0004-v2", "sub-0005-v2") for model in (None, "cof", "exact")]
    for (subject, model), printed in zip(columns, [table[heart::3] for table in tables for heart in range(3)]):
        amplitude = amplitude_mm(subject, model)
        taper = np.linspace(1.0, 0.55, SLICES)
        edv, esv = (
            float(np.sum(np.pi * (radius_mm(np.array(phase), amplitude) * taper) ** 2)) * SPACING[0] * 1e-3
            for phase in (0.0, 0.5)
        )
        expected = [edv, esv, edv - esv, 100 * (edv - esv) / edv]
        assert [float(value) for value in printed] == pytest.approx(expected, rel=0.04)


def test_sprite_sheets_hold_what_the_viewer_expects(folder: Path) -> None:
    scripts = re.findall(r'<script type="application/json">(.*?)</script>', (folder / "index.html").read_text())
    assert len(scripts) == 2
    for index, text in enumerate(scripts, 1):
        data = json.loads(text)
        columns, rows = data["tile"]
        for name, heart in data["hearts"].items():
            with Image.open(folder / f"assets/heart-{index}-{name}.webp") as sheet:
                assert sheet.size == (columns * heart["frames"], rows * 3)
            assert len(heart["contours"]) == 3
            assert all(len(level) == heart["frames"] for level in heart["contours"])


PARTIAL_RUNS = [
    {"cohort": ["Not in this run: the cohort"], "tables": ["the table 'ECG-conditioned 4D heart generation'"]},
    {
        "ecg": ["the parsed ECGs", "not in this run ( ecg )"],
        "fields/toppr/b001": ["not in this run ( fields/toppr )"],
        "twins/static": ["not in this run ( twins/static )"],
        "labeller": ["the training log of nnU-Net", "the labeller's scores"],
        "exclusions/cine": ["the exclusions of cine"],
        "phantom": ["Not in this run: the exact truth", "the card of the synthetic cohort"],
    },
    {
        "beats": ["the chosen cycles"],
        "quality": ["the measures of quality"],
        "cine": ["the native cines", "not in this run ( cine )"],
        "labels": ["the labels of the real cines"],
        "twins/cof": ["the hearts that 'cof' generated"],
        "grid": ["not in this run ( grid )"],
        "metrics/static": ["not in this run ( metrics/static )"],
        "registrations": ["the training log of TOPPR"],
        "models": ["the training log of cof"],
    },
]


@pytest.mark.parametrize("gone", PARTIAL_RUNS, ids=["cohort", "hearts", "cines"])
def test_missing_artefacts_are_named(
    tiny_results: Path, page: Page, tmp_path: Path, gone: dict[str, list[str]]
) -> None:
    partial = tmp_path / "results"
    shutil.copytree(tiny_results, partial)
    for folder in gone:
        shutil.rmtree(partial / folder)
    found = report(partial, tmp_path / "report")
    assert found.open == []
    for said in (said for group in gone.values() for said in group):
        assert said in found.text
        assert said not in page.text


def test_empty_results_still_make_a_page(tiny_results: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    make_report(results=tmp_path / "results", config=tiny_results / "config.json", out=tmp_path / "report")
    page = Page((tmp_path / "report/index.html").read_text())
    assert page.text.count("Not in this run") >= 8


def test_real_data_is_called_real(tiny_results: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_results / "config.json").read_text())
    config["cohort"]["sheet"] = "subjects.csv"
    (tmp_path / "config.json").write_text(json.dumps(config))
    make_report(results=tiny_results, config=tmp_path / "config.json", out=tmp_path / "report")
    text = Page((tmp_path / "report/index.html").read_text()).text
    assert "Data of real people" in text
    assert "synthetic cohort" not in text.lower().split("provenance")[0]


def test_missing_inputs_are_usage_errors(tiny_results: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--results: no such folder"):
        make_report(results=tmp_path / "none", config=tiny_results / "config.json", out=tmp_path / "report")
    with pytest.raises(UsageError, match="--config: no such file"):
        make_report(results=tiny_results, config=tmp_path / "none.json", out=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def with_probe(folder: Path, copy: Path, script: str) -> Path:
    """A copy of the report whose page runs `script` every tenth of a second.

    A headless browser on a busy machine may paint nothing and then asks for no frames: timers stand in for them.
    """
    shutil.copytree(folder, copy)
    index = copy / "index.html"
    frames = "window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);"
    text = index.read_text().replace("</title>", f"</title><script>{frames}</script>")
    index.write_text(text.replace("</body>", f"<script>setInterval(() => {{ {script} }}, 100);</script></body>"))
    return index


@needs_browser
def test_hearts_beat_in_a_browser(folder: Path, tmp_path: Path) -> None:
    """Opened from disk, every viewer starts, and time passes."""
    script = """
      const root = document.documentElement;
      const phases = [...document.querySelectorAll("output")].map((output) => parseInt(output.textContent));
      root.dataset.latest = Math.max(root.dataset.latest || 0, ...phases);"""
    dom = browse(with_probe(folder, tmp_path / "report", script), tmp_path / "profile", 1280, "--dump-dom")
    assert dom.count('data-ready="yes"') == 2
    latest = re.search(r'data-latest="(\d+)"', dom)
    assert latest is not None
    assert int(latest[1]) > 0


@needs_browser
def test_controls_of_the_viewer_work(folder: Path, tmp_path: Path) -> None:
    """The slider stops playback and moves time and cursor; the difference can be shown."""
    script = """
      const root = document.documentElement, viewer = document.querySelector("[data-viewer]");
      if (viewer.dataset.ready !== "yes" || root.dataset.found) return;
      const slider = viewer.querySelector("[data-phase]"), difference = viewer.querySelector("[data-difference]");
      slider.value = "0.5";
      slider.dispatchEvent(new Event("input"));
      difference.click();
      root.dataset.found = [
        viewer.querySelector("output").textContent,
        viewer.querySelector("[data-play]").textContent,
        slider.getAttribute("aria-valuetext"),
        document.querySelector(".cursor").style.left,
        viewer.querySelectorAll("canvas:not([hidden])").length,
      ].join("|");"""
    dom = browse(with_probe(folder, tmp_path / "report", script), tmp_path / "profile", 1280, "--dump-dom")
    found = re.search(r'data-found="([^"]*)"', dom)
    assert found is not None
    assert found[1] == "500 ms|Play|500 ms of 1000 ms after end diastole|54%|9"


@needs_browser
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_page_is_no_wider_than_its_window(folder: Path, tmp_path: Path, width: int) -> None:
    """The page paints a green light if nothing sticks out (the browser's own text output knows no narrow windows)."""
    script = f"""
      const light = document.querySelector("#light") || document.body.appendChild(document.createElement("div"));
      light.id = "light";
      window.onresize = () => {{
        const fits = document.documentElement.scrollWidth <= window.innerWidth && window.innerWidth === {width};
        light.style = `position: fixed; inset: 0; z-index: 9; background: ${{fits ? "rgb(0,255,0)" : "rgb(255,0,0)"}}`;
      }};
      window.onresize();"""
    shot = tmp_path / "page.png"
    browse(with_probe(folder, tmp_path / "report", script), tmp_path / "profile", width, f"--screenshot={shot}")
    with Image.open(shot) as image:
        assert image.convert("RGB").getpixel((width // 2, 800)) == (0, 255, 0)


@needs_browser
def test_screenshot_shows_the_hearts(folder: Path, tmp_path: Path) -> None:
    """The picture holds the black screens with bright blood in them, and each colour of the contours."""
    shot = tmp_path / "page.png"
    browse(folder / "index.html", tmp_path / "profile", 1280, f"--screenshot={shot}")
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"), int)
    assert pixels.shape == (1600, 1280, 3)
    black = (pixels < 12).all(axis=2)
    rows, columns = np.flatnonzero(black.sum(axis=1) > 200), np.flatnonzero(black.sum(axis=0) > 100)
    screen = pixels[rows[0] : rows[-1], columns[0] : columns[-1]]
    assert (screen > 230).all(axis=2).sum() > 2000
    for colour in ((255, 107, 107), (76, 201, 122), (107, 179, 255)):
        # How many pixels depends on the frame that is shown when the picture is taken.
        assert (np.abs(screen - colour).max(axis=2) < 25).sum() > 20, colour


def test_the_page_tells_how_far_each_network_has_come_and_links_to_what_it_cost(page: Page, folder: Path) -> None:
    alts = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    (learning,) = [alt for alt in alts if alt.startswith("Training and validation loss over the iterations")]
    assert "cof -" in learning
    assert "registration toppr -" in learning
    assert "1,234,567" in page.text
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert {"cost.html", "cost.html#table1"} <= links
    costs = Page((folder / "cost.html").read_text())
    assert "1.5 2 0" in costs.text
    assert ("section", "table1") in {(tag, attributes.get("id")) for tag, attributes in costs.elements}
