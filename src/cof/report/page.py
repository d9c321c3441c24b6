"""The HTML page: one static file and a folder of assets, which open from disk without a network connection."""

import json
from importlib.resources import files
from pathlib import Path

from cof.artefacts.provenance import digest, versions
from cof.report import cost, origins, qc
from cof.report.artefacts import Results
from cof.report.assets import Assets
from cof.report.section import Section, Sources
from cof.report.sections import cohort, ecg, experts, figures, glossary, hearts, numbers, quality, training
from cof.tables.costs import NOTES
from cof.viewer.templates import STATIC, as_hash, environment

TEMPLATES = Path(str(files("cof.report") / "templates"))
ASSETS = "assets"
PAGE = "cost.html"
SCRIPTS = ("report.css", "report.js", "qc.js")

# Sections in the order of the page. A new section is an entry here, with its template and, as a rule, its module.
SECTIONS = (
    Section("hearts", "Real and generated hearts", hearts.context),
    Section("numbers", "Numbers", numbers.context),
    Section("figures", "Figures of the paper", figures.context),
    Section("experts", "Against the experts", experts.context),
    Section("shows", "What this shows, and what not"),
    Section("ecg", "From ECG to cycle", ecg.context),
    Section("cohort", "The cohort", cohort.context),
    Section("quality", "Quality", quality.context),
    Section("training", "Training", training.context),
    Section("glossary", "Metrics and terms", glossary.context),
    Section("provenance", "Provenance"),
)


def build(results: Results, out: Path) -> None:
    """Write `index.html` and its assets into the folder `out`.

    A section whose artefacts are absent from the run says so.
    """
    assets = Assets(out / ASSETS)
    for file in (STATIC / "viewer.css", STATIC / "cine.js", *(TEMPLATES / name for name in SCRIPTS)):
        assets.add(file.name, file.read_bytes())
    sources = Sources(results, assets)
    for section in SECTIONS:
        sources.above[section.name] = section.context(sources)
    banner = origins.labels_banner(results)
    config = results.config.model_dump(mode="json")
    context = {
        "kind": results.kind,
        "synthetic": results.synthetic,
        "config": results.config,
        "config_text": json.dumps(config, indent=1),
        "config_hash": as_hash(digest(config)),
        "versions": versions(),
        "banner": banner,
        "sections": [section for section in SECTIONS if sources.above[section.name] is not None],
    }
    pages = environment(TEMPLATES)
    (out / "index.html").write_text(pages.get_template("report.html").render(context | sources.above))
    costs = {"kind": results.kind, "tables": cost.tables(results), "notes": NOTES}
    (out / PAGE).write_text(pages.get_template(PAGE).render(costs))
    qc.build(results, out / "qc", pages, sources.judged, banner)
