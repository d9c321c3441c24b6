"""What each section of the page says: facts from artefacts as plain values, and figures as files beside the page."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cof.artefacts.origin import origins
from cof.cine.volume import Cine, read_cine, read_labels, sidecar
from cof.config.base import TRUTH
from cof.config.controls import AnchoredSettings
from cof.config.evaluation import TableSettings
from cof.config.metrics import METRICS, Metric
from cof.config.training import TrainingSettings
from cof.ecg.record import Ecg
from cof.features.artefacts import Features
from cof.heart.function import time_to_end_systole, ventricular_function, volume_curve
from cof.heart.structures import STRUCTURES
from cof.quality.plausibility import Heart, doubts, measure
from cof.report import cines, experts, figures
from cof.report.artefacts import Missing, Results
from cof.report.origins import labeller_heading, models_banner, networks
from cof.tables.costs import HEADINGS, cells, learnt, panel, parts, read_csv, read_logs
from cof.tables.few import few

SPLITS = {"train": "training", "validation": "validation", "test": "held out"}
PROGRESS = ("iteration", "epoch", "step")


@dataclass(frozen=True)
class Assets:
    """The folder of files beside the page."""

    folder: Path

    def add(self, name: str, content: bytes) -> str:
        """Write one file; returns its address as the page sees it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)
        return f"{self.folder.name}/{name}"

    def figure(self, stem: str, alt: str, draw: Callable[[figures.Theme], Figure]) -> dict[str, str]:
        """Write a figure in every rendering; returns the addresses, and the text for those who cannot see it."""
        images = figures.render(draw)
        return {name: self.add(f"{stem}-{name}.svg", image) for name, image in images.items()} | {"alt": alt}


def hearts(results: Results, assets: Assets, remarks: Mapping[str, list[str]]) -> dict[str, Any]:
    """Held-out subjects, real against generated: cines in step, volume curves, function.

    Args:
        results: of the run.
        assets: takes sheets and figures.
        remarks: what speaks against a subject, by its name.
    """
    model = results.config.report.model
    twins = results.files(f"twins/{model}", ".nii")
    real = results.files("cine", ".nii")
    labels = results.files("labels", ".nii.gz")
    missing = [
        Missing(what, path)
        for found, what, path in (
            (twins, f"the hearts that '{model}' generated", f"twins/{model}"),
            (real, "the native cines", "cine"),
            (labels, "the labels of the real cines", "labels"),
        )
        if found is None
    ]
    if twins is None or real is None or labels is None:
        return {"model": model, "subjects": [], "missing": missing, "available": 0, "trained_on": []}
    held_out = [] if results.subjects is None else list(results.subjects.query("split == 'test'")["subject"])
    available = [
        subject
        for subject in held_out
        # A lone anchor has a generated heart and no real cine beside it.
        if subject in twins and subject in labels and subject in real and len(read_cine(real[subject]).frames) > 1
    ]
    shown = available[: results.config.report.subjects]
    if results.synthetic and results.truth is None:
        missing.append(Missing("the exact truth of the synthetic cohort", "phantom/truth"))
    if not shown:
        missing.append(Missing("a held-out subject with a real cine and a generated one", f"twins/{model}"))
    return {
        "model": model,
        "subjects": [
            _heart(results, assets, f"heart-{index}", subject, real[subject], labels[subject], twins[subject])
            | {"remarks": _with_doubts(remarks.get(subject, []), twins[subject])}
            for index, subject in enumerate(shown, 1)
        ],
        "trained_on": models_banner(results, {model: model}) if shown else [],
        "missing": missing,
        "available": len(available),
        "held_out": len(held_out),
    }


def _heart(
    results: Results, assets: Assets, stem: str, subject: str, real_path: Path, labels_path: Path, twin_path: Path
) -> dict[str, Any]:
    """One held-out subject: viewer data, figure of the volume curves, table of function."""
    real, generated = read_cine(real_path), read_cine(twin_path)
    labels = {
        "real": read_labels(labels_path),
        "generated": read_labels(twin_path.with_name(f"{subject}.labels.nii.gz")),
    }
    exact = results.exact_labels(subject, real)
    if exact is not None:
        labels["exact"] = exact
    crop = cines.place_crop(np.asarray(real.frames[0]), labels["real"][0], real.spacing_mm)
    sheets = {
        "real": assets.add(f"{stem}-real.webp", cines.sprite_sheet(real.frames, crop)),
        "generated": assets.add(f"{stem}-generated.webp", cines.sprite_sheet(generated.frames, crop)),
    }
    data = cines.viewer_data(crop, {name: labels[name] for name in sheets})
    data |= {"rr_ms": real.rr_ms, "axes": figures.CURVE_AXES}
    curves = {name: volume_curve(frames, STRUCTURES["LV"], real.spacing_mm) for name, frames in labels.items()}
    function = {name: ventricular_function(volumes, real.rr_ms) for name, volumes in curves.items()}
    drawn = (results.files("annotations", ".nii.gz") or {}).get(subject)
    expert = None if drawn is None else experts.read(drawn, real)
    quantities = [
        ("EDV (mL)", [f"{values.edv_ml:.1f}" for values in function.values()]),
        ("ESV (mL)", [f"{values.esv_ml:.1f}" for values in function.values()]),
        ("SV (mL)", [f"{values.sv_ml:.1f}" for values in function.values()]),
        ("EF (%)", [f"{values.ef_pct:.1f}" for values in function.values()]),
        ("time to ES (ms)", [f"{time_to_end_systole(volumes, real.rr_ms):.0f}" for volumes in curves.values()]),
    ]
    points = []
    if expert is not None:
        by_expert = experts.function(expert)
        quantities = [(name, [experts.number(by_expert.get(name, math.nan)), *cells]) for name, cells in quantities]
        points = [(frame / len(real.frames), expert.volume_ml(m, "LV")) for m, frame in expert.frames.items()]
    alt = "LV volume over the cycle: " + "; ".join(
        f"{figures.CURVE_NAMES[name]}, from {values.edv_ml:.0f} mL at end diastole to {values.esv_ml:.0f} mL at end "
        "systole"
        for name, values in function.items()
    )
    return {
        "name": subject,
        "facts": _subject_facts(results, subject, real),
        "viewer": data,
        "curve": assets.figure(f"{stem}-volume", alt, figures.volume_curves(curves, points)),
        "cursor": {"top": 1 - figures.CURVE_AXES[1] - figures.CURVE_AXES[3], "height": figures.CURVE_AXES[3]},
        "function": [(name, figures.CURVE_NAMES[name]) for name in (*(["expert"] if expert else []), *function)],
        "quantities": quantities,
        "slices": [index + 1 for index in crop.slices],
        "sheets": sheets,
    }


def _with_doubts(remarks: list[str], twin: Path) -> list[str]:
    """The remarks on a subject and those on its generated heart, but for what is said of the real one, too."""
    cine = read_cine(twin)
    labels = read_labels(twin.with_name(f"{twin.stem}.labels.nii.gz"))
    found = doubts(measure(Heart.of(labels, cine.spacing_mm, cine.rr_ms)))
    real, generated = (figures.CURVE_NAMES[name] for name in ("real", "generated"))
    return remarks + [doubt.of(generated) for doubt in found if doubt.of(real) not in remarks]


def _subject_facts(results: Results, subject: str, cine: Cine) -> list[str]:
    """Short facts: heart rates at both examinations, diagnosis categories of the ECG."""
    facts = [f"{60000 / cine.rr_ms:.0f} bpm in the scanner"]
    cycle, strip = results.row("beats", subject), results.row("ecg", subject)
    if cycle is not None:
        facts.append(f"{60000 / cycle['rr_ms']:.0f} bpm in the chosen ECG cycle")
    if strip is not None:
        facts.append("ECG: " + (", ".join(strip["categories"]) or "no category"))
    return facts


def ecg(results: Results, assets: Assets, subject: str | None) -> dict[str, Any]:
    """One 12-lead ECG with its chosen cycle: that of `subject`, or of the first subject that has a cycle."""
    ecgs, beats = results.rows("ecg", ["subject"]), results.rows("beats", ["subject", "low_quality", "irregular"])
    missing = [
        Missing(what, path)
        for found, what, path in ((ecgs, "the parsed ECGs", "ecg"), (beats, "the chosen cycles", "beats"))
        if found is None
    ]
    if ecgs is None or beats is None or beats.empty:
        return {"missing": missing or [Missing("a subject with a chosen cycle", "beats")]}
    names = set(beats["subject"])
    if subject is None or subject not in names:
        subject = str(sorted(names)[0])
    strip, cycle = results.row("ecg", subject), results.row("beats", subject)
    if strip is None or cycle is None:
        return {"missing": [Missing(f"the ECG of {subject}", "ecg")]}
    record = Ecg.from_row(strip)
    first, last = int(cycle["first_sample"]), int(cycle["last_sample"])
    beat = np.asarray(cycle["beat"], float).reshape(12, -1)
    seconds = record.signal.shape[1] / record.rate_hz
    strip_alt = (
        f"12-lead ECG of {subject}, {seconds:.0f} s; the chosen cycle lies from {first / record.rate_hz:.2f} s to "
        f"{last / record.rate_hz:.2f} s"
    )
    cycle_alt = f"The chosen cycle in all 12 leads, from one R peak to the next, {cycle['rr_ms']:.0f} ms"
    return {
        "missing": [],
        "subject": subject,
        "strip": assets.figure("ecg", strip_alt, figures.ecg_strip(record.signal, record.rate_hz, first, last)),
        "cycle": assets.figure("cycle", cycle_alt, figures.cardiac_cycle(beat, float(cycle["rr_ms"]))),
        "rr_ms": float(cycle["rr_ms"]),
        "correlation": float(cycle["correlation"]),
        "statements": list(record.statements),
        "low_quality": int(beats["low_quality"].sum()),
        "irregular": int(beats["irregular"].sum()),
        "count": len(beats),
    }


def cohort(results: Results, assets: Assets) -> dict[str, Any]:
    """Subjects of each split, the way through the stages, exclusions, and what was mended on the way in."""
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
        "total": len(subjects),
        "participants": int(subjects["participant"].nunique()),
        "funnel": assets.figure("funnel", alt, figures.funnel(steps)),
        "stages": _stages(results, counts),
        "exclusions": excluded,
        # A faulty annotation leaves its subject in.
        "excluded_subjects": len({row["subject"] for row in excluded if row["stage"] in in_chain}),
        "repairs": _repairs(results),
        "card": None if card is None else _card(card),
    }


def _steps(results: Results) -> list[tuple[str, str, str, str]]:
    """Stage, variant of it, what it does, and where its subjects are found, in the order of the chain."""
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


_SUFFIX = {"cine": ".nii", "labels": ".nii.gz", "grid": ".nii", "fields": ".safetensors", "twins": ".nii"}
_HELD_OUT = ("twins", "metrics", "features")
# Where the hearts lie on which intervals are calibrated.
CALIBRATION = "calibration"


def _stages(results: Results, excluded: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """How many subjects came through each stage; `count` is None where the run does not hold the stage."""
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
            # Its table holds those too that it leaves out.
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


def _funnel(results: Results, subjects: pd.DataFrame, excluded: list[dict[str, str]]) -> list[figures.FunnelStep]:
    """Every subject until the first stage that left it out, up to the motion that evaluation refers to.

    Later stages see only a part of the cohort, and a faulty annotation loses nobody.
    """
    left = set(subjects["subject"])
    steps = [figures.FunnelStep("came in", len(left), {})]
    for stage, variant, what, _ in _steps(results):
        if stage in _HELD_OUT or (variant and variant != results.config.evaluation.registration):
            continue
        lost: dict[str, str] = {}
        for row in excluded:
            if (row["stage"], row["variant"]) == (stage, variant) and row["subject"] in left:
                lost.setdefault(row["subject"], row["reason"])
        left -= set(lost)
        steps.append(figures.FunnelStep(what, len(left), dict(Counter(lost.values()).most_common())))
    return steps


def _exclusions(results: Results) -> tuple[list[dict[str, str]], list[Missing]]:
    """Every exclusion row of the cohort in the order of the chain, with the variant of the stage; and absent tables."""
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
    """The card of the synthetic cohort: calibration rows, couplings and prevalences as text."""
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
                ("r2_ef_given_ecg_and_anchor", "share that both explain"),
            )
        ],
        "prevalence": [
            (name.replace("_", " "), f"{share:.1%}", f"{cohort['prevalence'][name]:.1%}")
            for name, share in reference["prevalence"].items()
        ],
    }


def _repairs(results: Results) -> list[tuple[str, int]]:
    """What was mended in the cines, and in how many."""
    files = results.files("cine", ".nii") or {}
    mended: Counter[str] = Counter()
    for path in files.values():
        mended.update(set(json.loads(sidecar(path).read_text())["repairs"]))
    return sorted(mended.items(), key=lambda item: (-item[1], item[0]))


def training(results: Results, assets: Assets) -> dict[str, Any]:
    """Curves of everything that was trained, and the labeller's scores on participants that it never saw."""
    config = results.config
    trained = [("labeller", "nnU-Net, the labeller")]
    trained += [(f"registrations/{name}", f"TOPPR, registration '{name}'") for name in config.registrations]
    trained += [
        (f"models/{name}", f"{name}, family {model.family}")
        for name, model in config.models.items()
        if isinstance(model, TrainingSettings)
    ]
    curves, missing = [], []
    for folder, title in trained:
        path = results.root / folder / "log.csv"
        if not path.is_file():
            missing.append(Missing(f"the training log of {title}", f"{folder}/log.csv"))
            continue
        origin = results.origin(folder)
        if origin is not None and origin.where is not None:
            title = f"{title} (trained in {origin.where})"
        for part, log in parts(pd.read_csv(path)).items():
            progress = next((name for name in PROGRESS if name in log.columns), log.columns[0])
            columns = [name for name in log.columns if name != progress and log[name].notna().any()]
            last = ", ".join(f"{name} {log[name].dropna().iloc[-1]:.4g}" for name in columns)
            alt = f"Training curves of {panel(title, part)} over {len(log)} logged {progress}s; at the end: {last}"
            file = "-".join(filter(None, ("training", *folder.split("/"), part)))
            figure = assets.figure(file, alt, figures.training_curves(log, progress, columns))
            curves.append({"title": panel(title, part), "figure": figure, "last": last})
    labeller = results.record("labeller/labeller.json")
    if labeller is None:
        missing.append(Missing("the labeller's scores on participants that it never saw", "labeller/labeller.json"))
    scores = (labeller or {}).get("held_out", {})
    counts = [values["n"] for structures in scores.values() for values in structures.values()]
    return {
        "networks": networks(results),
        "labeller_heading": labeller_heading(results),
        "few": few(max(counts), intervals=False) if counts else None,
        "curves": curves,
        "learning": _learning(results, assets),
        "missing": missing,
        "labeller": [
            (phase, structure, values)
            for phase, structures in scores.items()
            for structure, values in structures.items()
        ],
    }


def _learning(results: Results, assets: Assets) -> dict[str, Any] | None:
    """The losses of all networks side by side, and how much they still change; nothing without a training's log."""
    config = results.config
    folders = {name: f"models/{name}" for name in config.models}
    folders |= {f"registration {name}": f"registrations/{name}" for name in config.registrations}
    logs = {name: found for name, folder in folders.items() if (found := read_logs(results.root / folder))}
    if not logs:
        return None
    costs = [learnt(results.root / folders[name], name, name, "") for name in logs]
    rows = [dict(zip(HEADINGS, cells(cost))) for cost in costs]
    panels = {panel(name, part): log for name, of_parts in logs.items() for part, log in of_parts.items()}
    alt = (
        "Training and validation loss over the iterations; over the last fifth the training loss changes by "
        + ", ".join(f"{row[HEADINGS[0]]} {row['last fifth, training']}" for row in rows)
    )
    headings = HEADINGS[1:7]
    return {
        "figure": assets.figure("learning", alt, figures.learning_curves(panels)),
        "headings": headings,
        "rows": [(row[HEADINGS[0]], [row[heading] for heading in headings]) for row in rows],
    }


def fairness(results: Results) -> list[dict[str, Any]]:
    """What each model of each table has cost, as `fairness/{table}.csv` holds it."""
    found = []
    for name, settings in results.config.tables.items():
        path = results.root / "fairness" / f"{name}.csv"
        if path.is_file():
            rows = [(row[0], row[1:]) for row in map(cells, read_csv(path))]
            found.append({"name": name, "title": settings.title, "headings": HEADINGS[1:], "rows": rows})
    return found


def tables(results: Results, assets: Assets) -> dict[str, Any]:
    """The tables of the configuration as `tables/{table}.csv` holds them, each with a figure of its intervals.

    A table none of whose metrics has a value is left out, and so are columns without any.
    """
    found, missing, empty = [], [], []
    defined: set[str] = set()
    for name, settings in results.config.tables.items():
        path = results.root / "tables" / f"{name}.csv"
        if not path.is_file():
            missing.append(Missing(f"the table '{settings.title}'", f"tables/{name}.csv"))
            continue
        long = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"config_hash": str, "row": str})
        known = [metric for metric in long["metric"].unique() if metric in METRICS]
        metrics = [METRICS[key] for key in known if long.loc[long["metric"] == key, "n"].max() > 0]
        if not metrics:
            empty.append((settings.title, _why_undefined(known, results)))
            continue
        defined |= {metric.key for metric in metrics}
        dropped = [key for key in known if METRICS[key] not in metrics]
        subjects = int(long["n"].max())
        rows = {
            str(row): {str(cell["metric"]): cell for _, cell in cells.iterrows()}
            for row, cells in long.groupby("row", sort=False)
        }
        alt = f"{settings.title}: mean of every metric with its 95 % interval, as in the table"
        lines = _by_anchor(results, settings, rows)
        over = f"{settings.title}: every metric against the phase of the anchor, of {', '.join(lines)}"
        found.append(
            {
                "name": name,
                "title": settings.title,
                "subjects": subjects,
                "few": few(subjects),
                "labelled": any(metric.rests_on_labels for metric in metrics),
                "trained_on": models_banner(results, settings.models),
                "dropped": [METRICS[key].label for key in dropped],
                "why_dropped": _why_undefined(dropped, results),
                "left_out": settings.left_out,
                "bootstrap": results.config.evaluation.bootstrap,
                "headings": [f"{metric.label}{f' ({metric.unit})' if metric.unit else ''}" for metric in metrics],
                "better": ["higher is better" if metric.better == "up" else "lower is better" for metric in metrics],
                "rows": [
                    (row, [_cell(cells[metric.key], metric) for metric in metrics]) for row, cells in rows.items()
                ],
                "unbounded": bool(np.isinf(long.loc[long["metric"].str.contains("_interval_width_"), "mean"]).any()),
                "paper_cohort": next(iter(long["paper_cohort"].dropna()), None),
                "config_hash": str(long["config_hash"].iloc[0]),
                "fairness": (results.root / "fairness" / f"{name}.csv").is_file(),
                "figure": assets.figure(f"table-{name}", alt, figures.intervals(rows, metrics)),
                "anchors": assets.figure(f"anchors-{name}", over, figures.anchor_phases(lines, metrics))
                if lines
                else None,
                "overview": _overview(assets, name, settings, rows, metrics),
            }
        )
    return {"tables": found, "missing": missing, "empty": empty, "defined": defined}


def _why_undefined(keys: list[str], results: Results) -> str:
    """Why metrics have no value in this run, as far as their names tell."""
    if keys and all("exact" in key or "true" in key or METRICS[key].attainable for key in keys):
        return "" if results.synthetic else "only hearts that this software has simulated come with their exact truth"
    return ""


def _by_anchor(
    results: Results, settings: TableSettings, rows: dict[str, dict[str, pd.Series]]
) -> dict[str, list[tuple[float, dict[str, pd.Series]]]]:
    """Of every model that a table shows at other anchors: its rows by the anchor's phase, by its printed name."""
    at: dict[str, list[tuple[float, dict[str, pd.Series]]]] = {}
    for name, printed in settings.models.items():
        model = results.config.models[name]
        if isinstance(model, AnchoredSettings) and printed in rows:
            at.setdefault(model.model, []).append((model.anchor_phase, rows[printed]))
    for name, points in at.items():
        if settings.models.get(name) in rows:
            points.append((0.0, rows[settings.models[name]]))
        points.sort(key=lambda point: point[0])
    return {settings.models.get(name, name): points for name, points in at.items()}


def _overview(
    assets: Assets, name: str, settings: TableSettings, rows: dict[str, dict[str, pd.Series]], metrics: list[Metric]
) -> dict[str, Any] | None:
    """The paper's figure of its Table I or II, over the metrics that both have or that stand in their place."""
    if settings.paper == "table1":
        shown = [metric for metric in metrics if metric.key in _RADAR]
        if len(shown) < 3 or len(rows) < 2:  # no area
            return None
        shares = figures.radar_shares(rows, shown)
        numbers = "; ".join(
            f"{row} {', '.join('none' if np.isnan(share) else f'{share:.2f}' for share in of)}"
            for row, of in shares.items()
        )
        alt = (
            f"Radar of every model's place between the worst (0) and the best (1) model in "
            f"{', '.join(metric.label for metric in shown)}: {numbers}"
        )
        caption = (
            "As the paper's Fig. 4(a): every metric from its worst model (centre) to its best (ring), so that a larger "
            "area is better. It tells ranks, not sizes: a spoke is as long for a small difference as for a large one."
        )
        body = [(row, ["–" if np.isnan(share) else f"{share:.2f}" for share in of]) for row, of in shares.items()]
        return {
            "figure": assets.figure(f"radar-{name}", alt, figures.radar(rows, shown)),
            "caption": caption,
            "numbers": {"headings": [metric.label for metric in shown], "rows": body},
        }
    if settings.paper == "table2":
        shown = [metric for metric in metrics if metric.key.startswith(("dice_", "iou_"))]
        if not shown:
            return None
        numbers = "; ".join(
            f"{row} " + ", ".join(f"{metric.label} {of[metric.key]['mean']:.2f}" for metric in shown)
            for row, of in rows.items()
        )
        caption = (
            "As the paper's Fig. 4(b): mean over subjects with its 95 % interval; the numbers are those of the table."
        )
        alt = f"Bars of Dice and IoU of every model: {numbers}"
        return {
            "figure": assets.figure(f"bars-{name}", alt, figures.bars(rows, shown)),
            "caption": caption,
            "numbers": None,
        }
    return None


# Spokes: the paper's six, and in the place of FID and FVD what is there of their kind.
_RADAR = frozenset(
    {"ssim", "psnr", "fid", "fvd", "m_corr", "m_ssim", "fd_imagenet", "fd_imagenet_video", "fd_labeller"}
    | {"fd_labeller_video"}
)


def _cell(cell: pd.Series, metric: Metric) -> dict[str, str]:
    """One model's value of one metric as text; empty where there is none."""

    def text(key: str, sign: str = "") -> str:
        return "" if pd.isna(cell[key]) else f"{cell[key]:{sign}.{metric.decimals}f}"

    def interval(low: str, high: str, sign: str = "") -> str:
        return "" if pd.isna(cell[low]) else f"{text(low, sign)} to {text(high, sign)}"

    return {
        "n": str(cell["n"]),
        "mean": text("mean"),
        "sd": text("sd"),
        "seed_sd": text("seed_sd"),
        "interval": interval("ci_low", "ci_high"),
        "difference": text("difference", "+"),
        "difference_interval": interval("difference_ci_low", "difference_ci_high", "+"),
        "paper": text("paper"),
    }


TERMS = (
    ("anchor", "the end-diastolic volume that gives the anatomy; the only image that the model sees at generation"),
    ("cycle", "one heart beat from R peak to R peak; its phase runs from 0 to 1"),
    ("end diastole, ED", "the start of the cycle, when the ventricle is fullest; frame 0 of every cine"),
    ("end systole, ES", "the moment when the left ventricle is smallest"),
    ("EDV, ESV", "volume of the left ventricle at end diastole and at end systole"),
    ("SV, EF", "stroke volume, EDV - ESV; ejection fraction, SV as a share of EDV"),
    ("held out", "in the test split: never seen by any training"),
    ("TOPPR", "the topology-preserving registration, whose motion of the training hearts supervises the model"),
    ("twin", "the heart generated from one subject's ECG and anchor"),
)


def glossary(results: Results, defined: set[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The metrics of the tables and the terms of this page, each with its meaning.

    Args:
        results: of the run.
        defined: metrics that some table shows; of a run without tables, all configured ones are explained.
    """
    keys = dict.fromkeys(key for table in results.config.tables.values() for key in table.metrics if key in METRICS)
    keys = {key: None for key in keys if key in defined or not defined}
    better = {"up": "higher is better", "down": "lower is better"}
    metrics = [(f"{METRICS[key].label} ({better[METRICS[key].better]})", METRICS[key].definition) for key in keys]
    return [("Metrics of the tables", metrics), ("Terms", list(TERMS))]
