"""Notices beside numbers that depend on a network: on which hearts, on how many, and where it was trained."""

from collections.abc import Mapping

from cof.artefacts.origin import SIMULATED, UNKNOWN, Origin, labels_notice
from cof.report.artefacts import Results


def labels_banner(results: Results) -> dict[str, str] | None:
    """Return the notice beside everything that depends on labels; None if the labeller was trained on this cohort."""
    origin = results.origin("labeller")
    if origin is None or not origin.foreign(results.kinds):
        return None
    notice = labels_notice(origin)
    return {"title": notice[0].upper() + notice[1:], "short": notice, "text": _text(origin, results)}


def models_banner(results: Results, models: Mapping[str, str]) -> list[str]:
    """Return sentences per group of models that were trained on hearts of another origin than this cohort."""
    groups: dict[tuple[Origin, str], list[str]] = {}
    for name, printed in models.items():
        origin = results.origin(f"models/{name}")
        network = results.config.models[name].training
        if network and origin is not None and origin.foreign(results.kinds):
            groups.setdefault((origin, results.overlap_notice(f"models/{name}")), []).append(printed)
    return [
        " ".join(filter(None, (f"{', '.join(names)}: trained on {origin.counted}.", overlap)))
        for (origin, overlap), names in groups.items()
    ]


def networks(results: Results) -> list[tuple[str, str, str, str, str]]:
    """Return one row per trained network of the run.

    Its cells are the name, the kind of training hearts, their number, where it was trained, and whether held-out
    subjects of this run are among them.
    """
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
                # It was trained on this cohort, whose sheet may not state an origin.
                hearts = "simulated hearts" if results.synthetic else "hearts of this cohort"
            where = ", ".join(filter(None, (origin.where or "this run", origin.cohort)))
            count = f"{origin.count:,}" if origin.count else "unknown"
            # The workflow refuses a borrowed network that is known to have learnt from one of them.
            rows.append((title, hearts, count, where, "unknown" if results.overlap_notice(folder) else "none"))
    return rows


def labeller_heading(results: Results) -> str:
    """Return the heading of the labeller's accuracy, which says on which hearts it was measured."""
    origin = results.origin("labeller")
    if origin is None or origin.where is None:
        return "The labeller on participants that it never saw"
    return f"The borrowed labeller on further {origin.hearts} of the cohort it was trained on"


def _text(origin: Origin, results: Results) -> str:
    """Return the text about the training of a labeller, with warnings of what is unknown about it for this cohort."""
    said = " ".join(filter(None, (f"It was trained on {origin.counted}.", results.overlap_notice("labeller"))))
    if results.kinds != {SIMULATED} and origin.kind != "real":
        said += (
            " Its accuracy on the scans of this cohort is unknown: compare its labels with an expert's contours before "
            "you rely on a volume."
        )
    return said
