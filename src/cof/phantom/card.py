"""The cohort card: a comparison with a published population, and the share of heart function that the ECG explains."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cof.artefacts.markup import markdown_lines
from cof.config.data import PhantomSettings
from cof.phantom.latents import Latents
from cof.phantom.population import sample

# Mean and SD in UK Biobank imaging participants: aggregate normalisation constants of broadinstitute/ml4h
# (ml4h/tensormap/ukb/{ecg,mri,demographics}.py, BSD-3-Clause). LVEF is left out: its entry there is a rounded constant.
PUBLISHED: dict[str, tuple[float, float]] = {
    "age_y": (63.358, 7.555),
    "height_cm": (169.181, 9.265),
    "weight_kg": (76.543, 15.467),
    "bmi": (26.655, 4.512),
    "hr_ecg_bpm": (59.3, 10.6),
    "p_duration_ms": (96.1, 18.85),
    "pr_ms": (165.9, 26.3),
    "qrs_ms": (89.53, 12.21),
    "qt_ms": (426.1, 32.24),
    "axis_deg": (25.7, 36.6),
    "edv_ml": (144.148, 34.394),
    "esv_ml": (59.583, 21.187),
    "sv_ml": (84.852, 19.270),
    "lvm_g": (89.704, 24.804),
    "rvedv_ml": (152.412, 37.152),
    "rvesv_ml": (67.614, 22.853),
    "rvef_pct": (56.405, 6.526),
}
# Factor of the QRS amplitude where the low-voltage flag is set.
_LOW_VOLTAGE_FACTOR = 0.6
_ECG = (
    "hr_ecg_bpm",
    "rr_cv",
    "pr_ms",
    "p_duration_ms",
    "qrs_ms",
    "qt_ms",
    "axis_deg",
    "voltage",
    "strain",
    "infarct_size",
)
_ECG_GROUPS = ("rhythm", "conduction", "infarct")
_ANCHOR = ("edv_ml", "lvm_g", "length_mm", "rvedv_ml")
# Size of the reference sample that is compared with the published means; it does not depend on the cohort's size.
REFERENCE_DRAWS = 2000


def tabulate(population: list[Latents]) -> pd.DataFrame:
    """Return a table with one row per participant: latents and values derived from them."""
    table = pd.DataFrame([latents.to_dict() for latents in population])
    table["bmi"] = [latents.bmi for latents in population]
    table["esv_ml"] = table.edv_ml * (1 - table.ef_pct / 100)
    table["sv_ml"] = table.edv_ml - table.esv_ml
    table["rvesv_ml"] = table.rvedv_ml * (1 - table.rvef_pct / 100)
    table["lvm_index"] = table.lvm_g / table.bsa_m2
    table["voltage"] = table.ecg_gain * np.where(table.low_voltage, _LOW_VOLTAGE_FACTOR, 1.0)
    return table


def explained(features: np.ndarray, target: np.ndarray) -> float:
    """Return R2 of an ordinary least-squares fit, adjusted for the number of features."""
    design = np.column_stack([np.ones(len(features)), features])
    residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    rank = np.linalg.matrix_rank(design)
    return float(1 - residual @ residual / (len(target) - rank) / target.var(ddof=1))


def calibrate(table: pd.DataFrame) -> dict[str, Any]:
    """Return means and SDs with the published ones, and the shares of participants with a finding."""
    findings = {
        "lbbb": table.conduction == "lbbb",
        "rbbb": table.conduction == "rbbb",
        "infarct": table.infarct != "none",
        "lvh": table.lvh,
        "af": table.rhythm == "af",
        "low_voltage": table.low_voltage,
    }
    return {
        "n": len(table),
        "calibration": {
            name: {
                "mean": float(table[name].mean()),
                "sd": float(table[name].std()),
                "published_mean": mean,
                "published_sd": sd,
            }
            for name, (mean, sd) in PUBLISHED.items()
        },
        "ef_pct": {"mean": float(table.ef_pct.mean()), "sd": float(table.ef_pct.std())},
        "prevalence": {name: float(found.mean()) for name, found in findings.items()},
    }


def couple(table: pd.DataFrame) -> dict[str, float]:
    """Return how much of mass and function ECG and anchor explain; needs many more rows than features."""
    groups = pd.get_dummies(table[list(_ECG_GROUPS)])
    ecg = np.column_stack([table[list(_ECG)].to_numpy(float), groups.to_numpy(float)])
    anchor = table[list(_ANCHOR)].to_numpy(float)
    ef = table.ef_pct.to_numpy(float)
    return {
        "r_voltage_lvm_index": float(np.corrcoef(table.voltage, table.lvm_index)[0, 1]),
        "r2_ef_given_ecg": explained(ecg, ef),
        "r2_ef_given_anchor": explained(anchor, ef),
        "r2_ef_given_ecg_and_anchor": explained(np.column_stack([ecg, anchor]), ef),
    }


def _mean_sd(mean: float, sd: float) -> str:
    return f"{mean:.1f} ({sd:.1f})"


def _markdown(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    own = card["cohort"]["calibration"]
    lines = [
        "# Card of the synthetic cohort",
        "",
        f"{card['cohort']['n']} participants, arm `{card['arm']}`, seed {card['seed']}. Reference: "
        f"{card['reference']['n']} further draws from the same population. Published: UK Biobank imaging participants, "
        "aggregate constants in the source of broadinstitute/ml4h.",
        "",
        "On this cohort a gain from the ECG shows only that a method can use couplings that were built in. It says "
        "nothing about real patients.",
        "",
        *markdown_lines(
            ["quantity", "published mean (SD)", "reference mean (SD)", "this cohort mean (SD)"],
            [
                [
                    name,
                    _mean_sd(row["published_mean"], row["published_sd"]),
                    _mean_sd(row["mean"], row["sd"]),
                    _mean_sd(own[name]["mean"], own[name]["sd"]),
                ]
                for name, row in card["reference"]["calibration"].items()
            ],
        ),
        "",
        *markdown_lines(
            ["coupling in the reference draws", "value", "target"],
            [
                [name, f"{card['couplings'][key]:.2f}", aim]
                for name, key, aim in (
                    ("r(QRS voltage, LV mass index)", "r_voltage_lvm_index", "about .3"),
                    ("R2 of EF on ECG latents", "r2_ef_given_ecg", ".2 to .3"),
                    (f"R2 of EF on anchor features ({', '.join(_ANCHOR)})", "r2_ef_given_anchor", "about .1"),
                    ("latent ceiling: R2 of EF on both", "r2_ef_given_ecg_and_anchor", ""),
                )
            ],
        ),
        "",
        *markdown_lines(
            ["finding", "share of reference", "share of cohort"],
            [
                [name, f"{share:.3f}", f"{card['cohort']['prevalence'][name]:.3f}"]
                for name, share in card["reference"]["prevalence"].items()
            ],
        ),
        "",
        "The targets hold for the population arm; with the diseases of the enriched arm the ECG explains more.",
        "",
    ]
    return "\n".join(lines)


def write_card(
    folder: Path, cohort: list[Latents], settings: PhantomSettings, seed: int, stamp: dict[str, Any]
) -> None:
    """Write card.md and card.json for the participants of a cohort."""
    reference = tabulate([sample(f"reference-{k:05d}", seed, settings.arm) for k in range(REFERENCE_DRAWS)])
    card = {
        "arm": settings.arm,
        "seed": seed,
        "reference": calibrate(reference),
        "couplings": couple(reference),
        "cohort": calibrate(tabulate(cohort)),
        "provenance": stamp,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True))
    (folder / "card.md").write_text(_markdown(card))
