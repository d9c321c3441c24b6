"""The section of the paper's figures, as `cof figure` has drawn them."""

from typing import Any

from cof.config.figures import FIGURES
from cof.report.artefacts import Missing, Results
from cof.report.origins import models_banner
from cof.report.section import Sources

FOLDER = "figures"


def context(sources: Sources) -> dict[str, Any]:
    """Return every figure of the run with its caption, its numbers and its files."""
    results, assets = sources.results, sources.assets
    found, missing = [], []
    for name, told in FIGURES.items():
        record = results.record(f"{FOLDER}/{name}.json")
        if record is None:
            missing.append(Missing(f"the figure '{told.title}'", f"{FOLDER}/{name}.svg"))
            continue
        files = {
            kind: assets.add(f"figure-{name}.{kind}", (results.root / FOLDER / f"{name}.{kind}").read_bytes())
            for kind in ("svg", "png", "csv")
        }
        found.append(record | {"files": files, "numbers_first": told.numbers_first})
    if not found:
        missing = [Missing("the figures of the paper", f"{FOLDER}/")]
    return {"figures": found, "missing": missing, "trained_on": _trained_on(results, found)}


def _trained_on(results: Results, found: list[dict[str, Any]]) -> list[str]:
    """Return the notice on the drawn models that were trained on hearts of another origin."""
    drawn = {record["model"]: record["model"] for record in found if record["model"] in results.config.models}
    return models_banner(results, drawn)
