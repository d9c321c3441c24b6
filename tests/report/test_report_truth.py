"""Patients labelled by a borrowed network: the page says so, shows the experts, warns, leaves out what cannot be."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ring_hearts import BATCH, FRAMES, SPACING, SPLITS, amplitude_mm, ring_heart

from cof.artefacts.parquet import read_table, write_table
from cof.cine.volume import write_labels
from cof.config import load, parse
from cof.config.metrics import DEFINITIONS_VERSION
from cof.metrics.overlap import dice
from cof.quality.plausibility import CHECKS, Heart, measure
from cof.report import origins
from cof.report.artefacts import Results
from cof.report.assets import Assets
from cof.report.section import Sources
from cof.report.sections import experts
from cof.report.stage import make_report
from cof.tables.few import few
from cof.tables.stage import make_table

NOTICE = "Labels by a network trained on simulated hearts"
PATIENT, TRAINED = "sub-0004-v2", "sub-0001-v2"
EXPERT_MM = 9.0
EXACT = "Against the exact truth"


class Sections(HTMLParser):
    """The visible text of a page by its sections (`head` before the first), and by `article` within them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text: dict[str, str] = {"head": ""}
        self.articles: list[str] = []
        self.images: list[str] = []
        self.within, self.silent, self.in_article = "head", 0, False
        self.feed(text)
        self.text = {name: " ".join(words.split()) for name, words in self.text.items()}
        self.articles = [" ".join(words.split()) for words in self.articles]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.silent += tag in ("script", "style")
        if tag == "section":
            self.within = str(attributes["id"])
            self.text[self.within] = ""
        if tag == "article":
            self.in_article = True
            self.articles.append("")
        if tag == "img":
            self.images.append(attributes["alt"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in ("script", "style")
        self.in_article = self.in_article and tag != "article"

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.text[self.within] += " " + data
            if self.in_article:
                self.articles[-1] += " " + data


def borrowed(folder: Path, record: dict, name: str) -> None:
    found = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
    (folder / name).write_text(json.dumps(found | record))
    (folder / "borrowed.json").write_text('{"from": "weights/bench"}')


def expert_labels() -> np.ndarray:
    """ED and ES of a heart that contracts by `EXPERT_MM`; all other frames are zero."""
    labels = ring_heart(EXPERT_MM)[1]
    drawn = np.zeros_like(labels)
    drawn[[0, FRAMES // 2]] = labels[[0, FRAMES // 2]]
    return drawn


@pytest.fixture(scope="module")
def patients(tiny_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ring hearts as if a sheet had brought them, with weights of a synthetic cohort and an expert on two."""
    root = tmp_path_factory.mktemp("patients")
    results = shutil.copytree(tiny_results, root / "results")
    config = json.loads((results / "config.json").read_text())
    config["cohort"]["sheet"] = "subjects.csv"
    config["trained"] = "weights/bench"
    config["tables"]["exact"] = config["tables"]["table1"] | {
        "title": EXACT, "metrics": ["dice_exact_lv", "ef_exact_error_pct"], "paper": None
    }  # fmt: skip
    config["tables"]["table1"]["metrics"] += ["dice_lv", "epe_true_mm"]
    config["tables"]["table1"]["left_out"] = ["Random Sample"]
    (results / "config.json").write_text(json.dumps(config))
    learnt = {"learnt_from": {"simulated": 32, "real": 0, "unknown": 0}}
    borrowed(results / "labeller", learnt | {"participants": {"training": [TRAINED[:8]]}}, "labeller.json")
    borrowed(results / "models/cof", {"learnt_from": {"simulated": 160}}, "settings.json")
    for name in (PATIENT, TRAINED):
        write_labels(results / f"annotations/{BATCH[name]}/{name}.nii.gz", expert_labels(), np.eye(4))
    for batch in ("b000", "b001"):
        (results / "annotations" / batch).mkdir(parents=True, exist_ok=True)
        names = read_table(results / f"quality/{batch}.parquet")["subject"]
        rows = [{"subject": name} | dict.fromkeys((check.key for check in CHECKS), float("nan")) for name in names]
        for row in rows:
            if row["subject"] == PATIENT:
                row |= {"lv_edv_ml": 58.0, "rr_ratio": 1.55, "rv_ef_pct": 0.0}
        write_table(results / f"plausibility/{batch}.parquet", pd.DataFrame(rows), {})
        for model in ("cof", "static"):
            path = results / f"metrics/{model}/{batch}.parquet"
            rows = read_table(path)
            more = rows[rows["metric"] == "ssim"].assign(metric="dice", structure="LV")
            write_table(path, pd.concat([rows, more]).assign(version=DEFINITIONS_VERSION), {})
    chosen = parse(config)
    for name, settings in chosen.tables.items():
        make_table(
            metrics={m: [results / f"metrics/{m}/{b}.parquet" for b in ("b000", "b001")] for m in ("cof", "static")},
            settings=settings,
            evaluation=chosen.evaluation,
            out=results / "tables" / name,
            config_hash="abc123",
            labeller=results / "labeller",
            subjects=results / "cohort/subjects.parquet",
        )
    make_report(results=results, config=results / "config.json", out=root / "report")
    return root


@pytest.fixture(scope="module")
def page(patients: Path) -> Sections:
    return Sections((patients / "report/index.html").read_text())


def test_the_banner_stands_beside_everything_that_rests_on_labels(page: Sections) -> None:
    assert f"{NOTICE}. It was trained on 32 simulated hearts (weights/bench)." in page.text["head"]
    assert len(page.articles) == 2
    assert all(NOTICE in article for article in page.articles)
    for section in ("numbers", "experts", "quality", "training"):
        assert NOTICE in page.text[section], section
    assert "cof: trained on 160 simulated hearts (weights/bench)." in page.text["hearts"]
    assert "COF: trained on 160 simulated hearts (weights/bench)." in page.text["numbers"]


def test_the_labellers_numbers_stand_under_where_they_were_measured(page: Sections) -> None:
    assert "The borrowed labeller on further simulated hearts of the cohort it was trained on" in page.text["training"]
    assert "participants that it never saw" not in page.text["training"]
    assert "nnU-Net, the labeller simulated hearts 32 weights/bench" in page.text["training"]
    assert "nnU-Net, the labeller (trained in weights/bench)" in page.text["training"]
    assert "Of their hearts, 7 have no stated origin." in page.text["cohort"]


def test_qc_pages_carry_the_banner_and_the_doubts(patients: Path) -> None:
    text = " ".join((patients / f"report/qc/{PATIENT}.html").read_text().split())
    assert NOTICE in text
    assert "LV EDV 58.0 mL, plausible is 60 to 500 mL; limits: wide ranges around Petersen" in text
    rows = pd.read_csv(patients / "report/qc/quality.csv", keep_default_na=False).set_index("subject")
    assert rows.loc[PATIENT, "not_plausible"] == "lv_edv_ml rv_ef_pct rr_ratio"
    assert (rows.drop(PATIENT)["not_plausible"] == "").all()


def test_warnings_stand_next_to_their_subject_and_in_the_list(page: Sections) -> None:
    warned, other = page.articles
    assert warned.startswith(PATIENT)
    assert "Check this heart" in warned
    assert "LV EDV 58.0 mL, plausible is 60 to 500 mL (labels of the real cine)" in warned
    assert "RR interval of the ECG over that of the scan 1.55, plausible is 0.67 to 1.5" in warned
    assert "plausible is 0.67 to 1.5 (" not in warned  # no labels are behind it
    assert warned.count("RV EF 0.0 %") == 1  # the generated heart has the same
    assert "(labels of the real cine)" not in other
    # The right ventricle of ring hearts hardly moves.
    assert "RV EF 0.0 %, plausible is 3 to 90 % (labels of the generated heart)" in other
    assert "To check 2" in page.text["head"]
    listed = page.text["quality"]
    assert f"{PATIENT} held out LV EDV 58.0 mL" in listed
    assert "sub-0003-v2 validation flagged: blur 0.900" in listed
    assert "(1 subject)" in listed


def volumes(labels: np.ndarray, code: int) -> np.ndarray:
    return (labels == code).sum((1, 2, 3)) * np.prod(SPACING) / 1000


def test_the_expert_is_shown_beside_the_labels(page: Sections) -> None:
    """Volumes by counting, Dice by its definition, and which subjects the labeller had seen."""
    expert, ours = ring_heart(EXPERT_MM)[1], ring_heart(amplitude_mm(PATIENT))[1]
    es = FRAMES // 2
    edv, esv = volumes(expert, 1)[[0, es]]
    real, made = volumes(ours, 1)[[0, es]], volumes(ring_heart(amplitude_mm(PATIENT, "cof"))[1], 1)[[0, es]]
    shown = page.articles[0]
    assert "expert's contours labels of the real cine labels of the generated heart" in shown
    assert f"EDV (mL) {edv:.1f} {real[0]:.1f} {made[0]:.1f} ESV (mL) {esv:.1f} {real[1]:.1f} {made[1]:.1f}" in shown
    assert f"EF (%) {100 * (1 - esv / edv):.1f}" in shown
    table = page.text["experts"]
    overlap = {
        (moment, code): dice(ours[[frame]], expert[[frame]], code)[0]
        for moment, frame in (("ED", 0), ("ES", es))
        for code in (1, 2, 3)
    }
    assert f"{PATIENT} {edv:.1f} {real[0]:.1f} {esv:.1f} {real[1]:.1f}" in table
    first = " ".join(f"{overlap[moment, code]:.3f}" for moment in ("ED", "ES") for code in (1, 2, 3))
    assert first in table
    # A borrowed labeller has trained elsewhere, whoever bears the same name.
    assert "2 subjects, not used to train the labeller" in table
    assert f"{TRAINED}*" not in table
    errors = [volumes(ring_heart(amplitude_mm(name))[1], 1)[es] - esv for name in (TRAINED, PATIENT)]
    assert f"{np.mean(errors):+.1f} ± {np.std(errors, ddof=1):.1f}" in table


def test_subjects_that_trained_the_labeller_are_kept_apart(patients: Path, tmp_path: Path) -> None:
    root = shutil.copytree(patients / "results", tmp_path / "results")
    (root / "labeller/borrowed.json").unlink()
    found = experts.context(Sources(Results(root, load(root / "config.json")), Assets(tmp_path / "assets")))
    assert found is not None
    assert [(group["title"], group["count"]) for group in found["groups"]] == [
        ("not used to train the labeller", 1),
        ("used to train the labeller", 1),
    ]
    assert [(subject, seen) for subject, seen, *_ in found["rows"]] == [(PATIENT, False), (TRAINED, True)]


def test_the_column_is_called_by_what_it_holds(page: Sections) -> None:
    (curve,) = [alt for alt in page.images if alt.startswith("LV volume over the cycle")][:1]
    assert "labels of the real cine, from" in curve
    assert "labels of the generated heart, from" in curve
    assert " real from" not in curve


def test_few_subjects_are_said_and_the_impossible_is_left_out(patients: Path, page: Sections) -> None:
    numbers = page.text["numbers"]
    assert "Only 2 subjects, fewer than 10: 95 % intervals may be too narrow" in numbers
    assert "With fewer than 10 subjects, the intervals may be too narrow." in numbers
    assert (
        f"The table “{EXACT}” is left out, because none of its metrics is defined in this run: the exact truth is "
        "known only for hearts that this software simulates."
    ) in numbers
    assert f"{EXACT} 2 held-out" not in numbers
    assert "Left out, because no row has a value (the exact truth is known only for hearts" in numbers
    assert "that this software simulates): EPE" in numbers
    assert "exact" not in page.text["glossary"].split("Terms")[0]
    assert few(10) is None
    assert few(1) == "Only 1 subject, fewer than 10: " + few(1).partition(": ")[2]
    assert "intervals" not in few(3, intervals=False)
    printed = (patients / "results/tables/table1.md").read_text()
    assert "Only 2 subjects, fewer than 10" in printed
    assert f"{NOTICE}: 32 simulated hearts (weights/bench)." in printed
    unknown = "Whether it has learnt from held-out subjects of this run is unknown: it has no learnt_from.txt."
    assert printed.count(unknown) == page.text["head"].count(unknown) == 1
    run = Results(patients / "results", load(patients / "results/config.json"))
    assert {name: held_out for name, *_, held_out in origins.networks(run)}["nnU-Net, the labeller"] == "unknown"
    empty = (patients / "results/tables/exact.md").read_text()
    assert "Left out: none of its metrics is defined for these hearts." in empty
    assert "| COF" not in empty
    assert "tabular" not in (patients / "results/tables/exact.tex").read_text()


def test_rows_that_the_cohort_cannot_have_are_named(page: Sections) -> None:
    note = "Left out, because this cohort has no training subjects and no other run has trained them: Random Sample."
    assert page.text["numbers"].count(note) == 1


def test_a_run_of_its_own_cohort_has_no_banner(tiny_results: Path, tmp_path: Path) -> None:
    run = Results(tiny_results, load(tiny_results / "config.json"))
    assert origins.labels_banner(run) is None
    assert origins.models_banner(run, {"cof": "COF"}) == []
    assert experts.context(Sources(run, Assets(tmp_path))) is None
    assert origins.labeller_heading(run) == "The labeller on participants that it never saw"
    assert ("nnU-Net, the labeller", "simulated hearts", "unknown", "this run", "none") in origins.networks(run)


def test_hearts_of_a_sheet_are_called_what_it_states(patients: Path, tmp_path: Path) -> None:
    config = load(patients / "results/config.json")
    for kind, said in (("simulated", "shows no person"), ("real", "Data of real people"), (None, "Data of real")):
        subjects = read_table(patients / "results/cohort/subjects.parquet")
        root = tmp_path / str(kind)
        write_table(root / "cohort/subjects.parquet", subjects if kind is None else subjects.assign(origin=kind), {})
        assert said in Results(root, config).kind


def test_ring_hearts_are_plausible() -> None:
    """So that a page without remarks means something."""
    for name in SPLITS:
        labels = ring_heart(amplitude_mm(name))[1]
        values = measure(Heart.of(labels, SPACING, 1000.0, 1000.0))
        assert 60 < values["lv_edv_ml"] < 500
