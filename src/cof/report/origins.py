"""Notices beside numbers that rest on a network: on what, where and on how many hearts it was trained."""

from collections.abc import Mapping

from cof.artefacts.origin import SIMULATED, UNKNOWN, Origin, labels_notice
from cof.report.artefacts import Results


def labels_banner(results: Results) -> dict[str, str] | None:
    """Notice beside everything that rests on labels; None where the labeller is of this cohort."""
    origin = results.origin("labeller")
    if origin is None or not origin.foreign(results.kinds):
        return None
    notice = labels_notice(origin)
    return {"title": notice[0].upper() + notice[1:], "short": notice, "text": _text(origin, results.kinds)}


def models_banner(results: Results, models: Mapping[str, str]) -> list[str]:
    """A sentence for each group of models, by their printed names, that a reader must know the origin of."""
    groups: dict[Origin, list[str]] = {}
    for name, printed in models.items():
        origin = results.origin(f"models/{name}")
        network = results.config.models[name].training
        if network and origin is not None and origin.foreign(results.kinds):
            groups.setdefault(origin, []).append(printed)
    return [f"{', '.join(names)}: trained on {origin.counted}." for origin, names in groups.items()]


def networks(results: Results) -> list[tuple[str, str, str, str]]:
    """Every trained network of the run: name, what it learnt from, how many hearts, where."""
    config = results.config
    folders = {"labeller": "nnU-Net, the labeller"}
    folders |= {f"registrations/{name}": f"TOPPR, registration '{name}'" for name in config.registrations}
    folders |= {
        f"models/{name}": f"{name}, family {model.family}" for name, model in config.models.items() if model.training
    }
    rows = []
    for folder, title in folders.items():
        origin = results.origin(folder)
        if origin is not None:
            hearts = origin.hearts
            if origin.kind == UNKNOWN and origin.where is None:
                # Of this cohort, of which the sheet may say nothing.
                hearts = "simulated hearts" if results.synthetic else "hearts of this cohort"
            where = ", ".join(filter(None, (origin.where or "this run", origin.cohort)))
            rows.append((title, hearts, f"{origin.count:,}" if origin.count else "unknown", where))
    return rows


def labeller_heading(results: Results) -> str:
    """Under which heading the labeller's accuracy stands: on whose hearts it was measured."""
    origin = results.origin("labeller")
    if origin is None or origin.where is None:
        return "The labeller on participants that it never saw"
    return f"The borrowed labeller on further {origin.hearts} of the cohort it was trained on"


def _text(origin: Origin, kinds: set[str]) -> str:
    """Words on where and on how many hearts a labeller was trained, and what does not follow."""
    said = f"It was trained on {origin.counted}."
    if kinds != {SIMULATED} and origin.kind != "real":
        said += (
            " How well it labels the scans of this cohort is not known from there: compare with an expert's contours "
            "before you believe a volume."
        )
    return said
