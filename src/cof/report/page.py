"""The HTML page: one static file and a folder of assets, which open from disk without a network connection."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cof.artefacts.provenance import digest, versions
from cof.errors import redact
from cof.report import cost, origins, qc
from cof.report.artefacts import Results
from cof.report.assets import Assets
from cof.report.section import Section, Sources
from cof.report.sections import cohort, ecg, experts, glossary, hearts, numbers, quality, training
from cof.tables.costs import NOTES

TEMPLATES = Path(str(files("cof.report") / "templates"))
ASSETS = "assets"
PAGE = "cost.html"

# Sections in the order of the page. A new section is an entry here, with its template and, as a rule, its module.
SECTIONS = (
    Section("hearts", "Real and generated hearts", hearts.context),
    Section("numbers", "Numbers", numbers.context),
    Section("experts", "Against the experts", experts.context),
    Section("shows", "What this shows, and what not"),
    Section("ecg", "From ECG to cycle", ecg.context),
    Section("cohort", "The cohort", cohort.context),
    Section("quality", "Quality", quality.context),
    Section("training", "Training", training.context),
    Section("glossary", "Metrics and terms", glossary.context),
    Section("provenance", "Provenance"),
)


def _clean(value: Any) -> Any:
    """Redact everything that looks like a participant id; all text of the page passes through this function."""
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(value: str) -> Markup:
    """Mark a hash as exempt from redaction, because its digits are not an id.

    Raises:
        ValueError: the text is not a hash.
    """
    if not re.fullmatch(r"[0-9a-f]{6,64}", value):
        raise ValueError(f"not a hash: {value!r}")
    return Markup(value)


def environment() -> Environment:
    """Return the template environment: it escapes and redacts all text, and unknown names are errors."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["hash"] = _hash
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return made


def build(results: Results, out: Path) -> None:
    """Write `index.html` and its assets into the folder `out`.

    A section whose artefacts are absent from the run says so.
    """
    assets = Assets(out / ASSETS)
    for name in ("report.css", "report.js", "qc.js"):
        assets.add(name, (TEMPLATES / name).read_bytes())
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
        "config_hash": _hash(digest(config)),
        "versions": versions(),
        "banner": banner,
        "sections": [section for section in SECTIONS if sources.above[section.name] is not None],
    }
    pages = environment()
    (out / "index.html").write_text(pages.get_template("report.html").render(context | sources.above))
    costs = {"kind": results.kind, "tables": cost.tables(results), "notes": NOTES}
    (out / PAGE).write_text(pages.get_template(PAGE).render(costs))
    qc.build(results, out / "qc", pages, sources.judged, banner)
