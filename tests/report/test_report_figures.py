"""The page's section of the paper's figures: drawn ones, one that could not be drawn, and those that are absent."""

import shutil
from pathlib import Path

import pytest
from test_report_page import Page, report

from cof.config.evaluation import EvaluationSettings
from cof.config.figures import FIGURES
from cof.figures.stage import make_figure
from constructed import SETTINGS, make_run, name

HASH = "0123456789ab"


def indices():
    for number in range(1, 13):
        for index, unit in (("edv", "ml"), ("esv", "ml"), ("sv", "ml"), ("ef", "pct"), ("co", "l_min")):
            yield name(number), "LV", None, f"{index}_{unit}", 50.0 + number
            yield name(number), "LV", None, f"{index}_reference_{unit}", 50.0 + number + (number % 3 - 1)


@pytest.fixture(scope="module")
def results(tiny_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one figure drawn and one that could not be."""
    root = shutil.copytree(tiny_results, tmp_path_factory.mktemp("figures") / "results")
    run = make_run(tmp_path_factory.mktemp("run"), {"cof": indices(), "mean_motion": []}).root
    for figure in ("agreement", "slice_ranks"):
        make_figure(
            name=figure,
            results=run,
            settings=SETTINGS,
            out=root / "figures" / figure,
            evaluation=EvaluationSettings(),
            config_hash=HASH,
        )
    return root


@pytest.fixture(scope="module")
def folder(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "report"


@pytest.fixture(scope="module")
def page(results: Path, folder: Path) -> Page:
    return report(results, folder)


def test_a_figure_has_its_caption_its_files_and_its_numbers(results: Path, folder: Path, page: Page) -> None:
    links = {attributes.get("href") for tag, attributes in page.elements if tag == "a"}
    for kind in ("svg", "png", "csv"):
        assert f"assets/figure-agreement.{kind}" in links
        shown = (folder / f"assets/figure-agreement.{kind}").read_bytes()
        assert shown == (results / f"figures/agreement.{kind}").read_bytes()
    assert FIGURES["agreement"].caption in page.text
    assert "Model cof, 12 subjects." in page.text
    assert "all subjects EF (%) 12 0.7 0.8 +0.0" in page.text
    assert f"made with another configuration ( {HASH} )" in page.text


def test_a_figure_that_could_not_be_drawn_says_why(page: Page) -> None:
    reason = "the metrics of 'cof' have no rows by slice rank, such as dice_slice_ed"
    assert f"Not drawn: {reason}." in page.text
    (alt,) = [
        attributes["alt"] for _, attributes in page.elements if attributes.get("src") == "assets/figure-slice_ranks.svg"
    ]
    assert alt.endswith(f"not drawn, {reason}")


def test_absent_figures_are_named_one_by_one(page: Page) -> None:
    for figure, told in FIGURES.items():
        absent = f"Not in this run: the figure '{told.title}' ( figures/{figure}.svg under the results folder)"
        assert (absent in page.text) == (figure not in ("agreement", "slice_ranks"))


def test_a_run_without_figures_says_so_once(tiny_results: Path, tmp_path: Path) -> None:
    text = report(tiny_results, tmp_path / "page").text
    assert text.count("the figures of the paper") == 1
    assert "Not in this run: the figures of the paper ( figures/ under the results folder)" in text
