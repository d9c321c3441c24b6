"""The section of the ejection fraction from one frame."""

import pandas as pd
from cells import cell, groups_of, table
from function import MEAN, MEAN_CONTRACTED, REGRESSION

from cof.tables.statistics import pearson

KINDS = {"soft": "ef_soft_pct", "hard": "ef_hard_pct"}
COLUMNS = (
    "EF in %, errors in points. Soft: by the sum of the voxels' shares of LV; hard: by the voxels with most LV. "
    "r within groups: of both EFs less their means in the group. Dice of the moved ED labels with those of ES: mean of "
    "the three, LV, myocardium, RV."
)
CONSTANT = 1e-3
# What the contracted model's error is compared with, beside the model as it is.
PEERS = (REGRESSION, MEAN, MEAN_CONTRACTED)


def say_function(rows: pd.DataFrame, contracted: str, as_it_is: str) -> str:
    """Write the errors of the EF of every method, by group, and how the contracted model's differ from its peers'."""
    groups = groups_of(rows)
    rows = rows.assign(dice=rows[["dice_lv", "dice_myo", "dice_rv"]].mean(axis=1, skipna=False))
    for kind, column in KINDS.items():
        rows[kind] = rows[column] - rows["ef_expert_pct"]
    body, by_group, by_group_dice = [], [], []
    for method, these in rows.groupby("method", sort=False):
        cells = []
        for kind, column in KINDS.items():
            pairs = these[[column, "ef_expert_pct"]]
            errors = [cell(these[kind].abs(), 1, interval=kind == "soft"), cell(these[kind], 1, signed=True)]
            cells += [*errors, _correlation(pairs), _correlation(within(pairs, these["group"]))]
        overlap = [cell(these[column]) for column in ("dice", "dice_lv", "dice_myo", "dice_rv")]
        body.append([str(method), *cells, *overlap])
        parts = [these[these["group"] == group] for group in groups]
        by_group.append([str(method), *(_by_group(part) for part in parts)])
        by_group_dice.append([str(method), *(cell(part["dice"]) for part in parts)])
    numbers = [f"{name}, {kind}" for kind in KINDS for name in ("MAE", "bias", "r", "r within groups")]
    missing = rows.loc[rows["ef_soft_pct"].isna()].groupby("method")["patient"].nunique()
    return "\n\n".join(
        [
            COLUMNS,
            table(["", *numbers, "Dice", "LV", "Myo", "RV"], body),
            "By group, soft: MAE, bias, r.",
            table(["", *groups], by_group),
            "Mean Dice by group:",
            table(["", *groups], by_group_dice),
            f"Absolute error of {contracted} less that of another row, of the same patients (below 0: {contracted} is "
            "nearer to the expert's EF):",
            table(["", "all", *groups], _differences(rows, contracted, (*PEERS, as_it_is))),
            *(
                f"No EF by {method} of {count} patients, whose labels lack a ventricle."
                for method, count in missing.items()
            ),
        ]
    )


def say_by_split(rows: pd.DataFrame) -> str:
    """Write MAE and bias of the hard EF, of the patients that COF has learnt from and of the others."""
    error = rows["ef_hard_pct"] - rows["ef_expert_pct"]
    splits = list(dict.fromkeys(rows["split"]))
    body = []
    for method in dict.fromkeys(rows["method"]):
        parts = [error[(rows["method"] == method) & (rows["split"] == split)] for split in splits]
        body.append([method, *(f"{cell(part.abs(), 1, True)}, {cell(part, 1, signed=True)}" for part in parts)])
    return table(["MAE, bias, hard", *splits], body)


def within(pairs: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """Take the mean of its group off every value."""
    return pairs - pairs.groupby(groups).transform("mean")


def _correlation(pairs: pd.DataFrame) -> str:
    """Write Pearson's r of two columns; a dash where one is constant but for rounding."""
    known = pairs.dropna().to_numpy(float)
    if len(known) < 3 or (known.std(axis=0) < CONSTANT).any():
        return "-"
    return f"{float(pearson(known)):.2f}"


def _by_group(rows: pd.DataFrame) -> str:
    r = _correlation(rows[["ef_soft_pct", "ef_expert_pct"]])
    return f"{cell(rows['soft'].abs(), 1)}, {cell(rows['soft'], 1, signed=True)}, {r}"


def _differences(rows: pd.DataFrame, contracted: str, peers: tuple[str, ...]) -> list[list[str]]:
    body = []
    for kind in KINDS:
        error = rows.pivot(index=["patient", "group"], columns="method", values=kind).abs()
        for peer in peers:
            difference = (error[contracted] - error[peer]).reset_index("group", name="points")
            parts = [difference, *(difference[difference["group"] == group] for group in groups_of(rows))]
            body.append([f"{peer}, {kind}", *(cell(part["points"], 1, True, True) for part in parts)])
    return body
