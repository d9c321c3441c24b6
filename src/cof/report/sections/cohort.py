"""The section of the cohort: splits, subjects left after each stage, exclusions and repairs."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cof.artefacts.origin import origins
from cof.artefacts.pairs import es_phases
from cof.cine.volume import sidecar
from cof.config.base import TRUTH
from cof.features.artefacts import Features
from cof.report.artefacts import SPLITS, Missing, Results
from cof.report.plots import Theme
from cof.report.section import Sources

_SUFFIX = {"cine": ".nii", "labels": ".nii.gz", "grid": ".nii", "fields": ".safetensors", "twins": ".nii"}
_HELD_OUT = ("twins", "metrics", "features")
# Folder of the validation hearts on which intervals are calibrated.
CALIBRATION = "calibration"


def context(sources: Sources) -> dict[str, Any]:
    """Return splits, subjects left after each stage, exclusions and repairs."""
    results, assets = sources.results, sources.assets
    subjects = results.subjects
    if subjects is None:
        return {"missing": [Missing("the cohort", "cohort/subjects.parquet")], "total": None}
    excluded, missing = _exclusions(results)
    card = results.record("phantom/card.json") if results.synthetic else None
    if results.synthetic and card is None:
        missing.append(Missing("the card of the synthetic cohort", "phantom/card.json"))
    in_chain = {stage for stage, *_ in _steps(results)}
    steps = _funnel(results, subjects, excluded)
    alt = "Subjects left after each stage: " + "; ".join(f"{step.label} {step.left}" for step in steps)
    counts = Counter((row["stage"], row["variant"]) for row in excluded)
    return {
        "missing": missing,
        "splits": [
            (label, len(rows), rows["participant"].nunique(), int(rows["annotated"].sum()))
            for split, label in SPLITS.items()
            for rows in [subjects[subjects["split"] == split]]
        ],
        "origins": [(kind, int(count)) for kind, count in origins(subjects).value_counts().items()],
        "split": results.split,
        "pairs": int(es_phases(subjects).notna().sum()),
        "total": len(subjects),
        "participants": int(subjects["participant"].nunique()),
        "funnel": assets.figure("funnel", alt, funnel(steps)),
        "stages": _stages(results, counts),
        "exclusions": excluded,
        # A subject with a faulty annotation stays in the cohort.
        "excluded_subjects": len({row["subject"] for row in excluded if row["stage"] in in_chain}),
        "repairs": _repairs(results),
        "card": None if card is None else _card(card),
    }


def _steps(results: Results) -> list[tuple[str, str, str, str]]:
    """Return stage, variant, what it does, and the folder of its subjects, in the order of the chain."""
    config = results.config
    return [
        ("ecg", "", "12-lead ECG read", "ecg"),
        ("beats", "", "cardiac cycle chosen", "beats"),
        ("cine", "", "short-axis cine stacked", "cine"),
        ("labels", "", "every frame labelled", "labels"),
        ("quality", "", "quality within the limits", "quality"),
        ("grid", "", "resampled about the heart", "grid"),
        *(("fields", name, "motion registered", f"fields/{name}") for name in config.registrations),
        *([("fields", TRUTH, "exact motion of held-out hearts", f"fields/{TRUTH}")] if config.exact_motion else []),
        *(
            (stage, f"{name}, calibration", f"validation hearts {done}", f"{CALIBRATION}/{stage}/{name}")
            for name in (() if config.trained else config.intervals.models)
            for stage, done in (("twins", "generated"), ("metrics", "evaluated"))
        ),
        *(("twins", name, "held-out hearts generated", f"twins/{name}") for name in config.models),
        *(("metrics", name, "held-out hearts evaluated", f"metrics/{name}") for name in config.models),
        *(("features", name, "features of held-out hearts", f"features/{name}") for name in config.featured),
    ]


def _stages(results: Results, excluded: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the numbers of subjects that passed each stage; `count` is None if the run does not hold the stage."""
    rows = []
    assert results.subjects is not None
    split = results.subjects["split"].value_counts()
    for stage, variant, what, folder in _steps(results):
        if stage in _SUFFIX:
            files = results.files(folder, _SUFFIX[stage])
            names = None if files is None else set(files)
        elif stage == "features":
            paths = [results.root / folder / f"{batch}.safetensors" for batch in results.batches]
            there = bool(paths) and all(path.is_file() for path in paths)
            names = Features(paths).subjects("imagenet") if there else None
        else:
            table = results.rows(folder, ["subject"])
            names = None if table is None else set(table["subject"])
        if names is not None and stage == "quality":
            # The table of quality also holds the subjects that this stage excludes.
            names -= set() if (gone := results.exclusions(folder)) is None else set(gone["subject"])
        if folder.startswith(CALIBRATION):
            of = split.get("validation", 0)
        elif stage in _HELD_OUT or variant == TRUTH:
            of = split.get("test", 0)
        else:
            of = len(results.subjects)
        rows.append(
            {
                "stage": stage,
                "variant": variant,
                "what": what,
                "count": None if names is None else len(names),
                "of": int(of),
                "excluded": excluded[stage, variant],
                "path": folder,
            }
        )
    return rows


@dataclass(frozen=True)
class FunnelStep:
    """One step of the cohort's way through the stages.

    Attributes:
        label: what the stage does.
        left: number of subjects that no stage up to this one has left out.
        lost: number of subjects that this stage left out, by reason.
    """

    label: str
    left: int
    lost: dict[str, int]


def _funnel(results: Results, subjects: pd.DataFrame, excluded: list[dict[str, str]]) -> list[FunnelStep]:
    """Return the steps up to the registration that evaluation uses; each subject counts until a stage leaves it out.

    Later stages process only a part of the cohort. A faulty annotation leaves out no subject.
    """
    left = set(subjects["subject"])
    steps = [FunnelStep("came in", len(left), {})]
    for stage, variant, what, _ in _steps(results):
        if stage in _HELD_OUT or (variant and variant != results.config.evaluation.registration):
            continue
        lost: dict[str, str] = {}
        for row in excluded:
            if (row["stage"], row["variant"]) == (stage, variant) and row["subject"] in left:
                lost.setdefault(row["subject"], row["reason"])
        left -= set(lost)
        steps.append(FunnelStep(what, len(left), dict(Counter(lost.values()).most_common())))
    return steps


def funnel(steps: Sequence[FunnelStep]) -> Callable[[Theme], Figure]:
    """Return the figure of the cohort's way: per step, a bar of the subjects left and of those lost, with reasons.

    The two most frequent reasons are named.
    """

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(8.6, 0.42 * len(steps) + 0.3), layout="constrained")
        axes = figure.subplots()
        came = max(steps[0].left, 1)
        for level, step in enumerate(steps):
            lost = sum(step.lost.values())
            axes.barh(level, step.left, height=0.62, color=theme.real)
            axes.barh(level, lost, left=step.left, height=0.62, color=theme.generated)
            on_bar = step.left > 0.1 * came
            colour = theme.ink if not on_bar else "white" if theme.name == "light" else "black"
            axes.text(0.015 * came, level, f"{step.left:,}", va="center", color=colour)
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in list(step.lost.items())[:2])
            reasons += f", {len(step.lost) - 2} more" if len(step.lost) > 2 else ""
            if lost:
                axes.text(step.left + lost + 0.012 * came, level, f"−{lost:,}: {reasons}", va="center", fontsize=8.5)
        axes.set_yticks(range(len(steps)), [step.label for step in steps])
        axes.set_ylim(len(steps) - 0.45, -0.55)
        axes.set_xlim(0, 2.15 * came)
        axes.tick_params(left=False, bottom=False, labelbottom=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        return figure

    return draw


def _exclusions(results: Results) -> tuple[list[dict[str, str]], list[Missing]]:
    """Return all exclusions of the cohort in the order of the chain, with the stage's variant, and absent tables."""
    rows: list[dict[str, str]] = []
    missing = []
    for stage, variant, _, folder in _steps(results):
        table = results.exclusions(folder)
        if table is None:
            missing.append(Missing(f"the exclusions of {stage} {variant}".rstrip(), f"exclusions/{folder}"))
        else:
            columns = ("subject", "stage", "reason", "message")
            cells = zip(*(table[name].astype(str) for name in columns))
            rows += [dict(zip(columns, row)) | {"variant": variant} for row in cells]
    labeller = results.record("labeller/labeller.json") or {}
    rows += [row | {"variant": ""} for row in labeller.get("left_out", [])]
    return rows, missing


def _card(card: dict[str, Any]) -> dict[str, Any]:
    """Return calibration, couplings and prevalences from the synthetic cohort's card, as text."""
    cohort, reference = card["cohort"], card["reference"]

    def spread(row: dict[str, float], prefix: str = "") -> str:
        return f"{row[f'{prefix}mean']:.1f} ± {row[f'{prefix}sd']:.1f}"

    return {
        "arm": card["arm"],
        "draws": reference["n"],
        "calibration": [
            (name.replace("_", " "), spread(row, "published_"), spread(row), spread(cohort["calibration"][name]))
            for name, row in reference["calibration"].items()
        ],
        "couplings": [
            (meaning, f"{card['couplings'][key]:.2f}")
            for key, meaning in (
                ("r_voltage_lvm_index", "correlation of QRS voltage and LV mass index"),
                ("r2_ef_given_ecg", "share of the variance of EF that ECG features explain (R²)"),
                ("r2_ef_given_anchor", "share that features of the anchor explain"),
                (
                    "r2_ef_given_ecg_and_anchor",
                    "share that both explain: the latent ceiling of the simulator",
                ),
            )
        ],
        "prevalence": [
            (name.replace("_", " "), f"{share:.1%}", f"{cohort['prevalence'][name]:.1%}")
            for name, share in reference["prevalence"].items()
        ],
    }


def _repairs(results: Results) -> list[tuple[str, int]]:
    """Return the repairs of the cines, with the number of cines for each."""
    files = results.files("cine", ".nii") or {}
    mended: Counter[str] = Counter()
    for path in files.values():
        mended.update(set(json.loads(sidecar(path).read_text())["repairs"]))
    return sorted(mended.items(), key=lambda item: (-item[1], item[0]))
