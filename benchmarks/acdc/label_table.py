"""The section of the labels."""

import pandas as pd
from cells import cell, groups_of, table
from hearts import PHASES

from labels import SHORT

WORST = 0.1  # share of the patients whose names are printed
LV_FLOOR = 0.8


def say_labels(rows: pd.DataFrame, ejection: pd.DataFrame) -> str:
    """Write what every labeller reaches, and how each differs from the first one."""
    names = list(dict.fromkeys(rows["labeller"]))
    parts = []
    for name in names:
        parts += [f"**{name}**", _one(rows[rows["labeller"] == name], ejection[ejection["labeller"] == name])]
    if len(names) > 1:
        parts += [f"Dice less that of {names[0]}, of the same patients:", _differences(rows, names)]
    return "\n\n".join(parts)


def _one(rows: pd.DataFrame, ejection: pd.DataFrame) -> str:
    body = []
    for structure in SHORT.values():
        for phase in PHASES:
            these = rows[(rows["structure"] == structure) & (rows["phase"] == phase)]
            by_group = [cell(these.loc[these["group"] == group, "dice"]) for group in groups_of(rows)]
            far = cell(these["hd95_mm"], 1)
            body.append([f"{structure}, {phase}", cell(these["dice"], interval=True), *by_group, far])
    means = rows.groupby("patient")["dice"].mean().sort_values()
    count = max(1, round(WORST * len(means)))
    worst = ", ".join(f"{name} {value:.3f}" for name, value in means.head(count).items())
    ventricle = rows[rows["structure"] == "LV"].groupby("patient")["dice"].mean()
    low = [f"{name} {value:.3f}" for name, value in ventricle[ventricle < LV_FLOOR].items()]
    error = ejection["ef_pct"] - ejection["ef_expert_pct"]
    lines = [
        table(["Dice", "all", *groups_of(rows), "HD95, mm"], body),
        "",
        f"Worst tenth, mean of structures and phases: {worst}.",
        f"LV below {LV_FLOOR:g}, mean of ED and ES: {', '.join(low) or 'nobody'}.",
        f"EF by the labels less that by the expert's: {cell(error, 1, signed=True)} points on average, "
        f"{cell(error.abs(), 1, True)} in size; not known of {int(error.isna().sum())} patients.",
        f"{cell(ejection['cpu_s'] / len(PHASES), 2)} CPU s a stack.",
    ]
    return "\n".join(lines)


def _differences(rows: pd.DataFrame, names: list[str]) -> str:
    wide = rows.pivot(index=["patient", "structure", "phase"], columns="labeller", values="dice")
    body = []
    for name in names[1:]:
        difference = wide[name] - wide[names[0]]
        parts = difference.groupby(["structure", "phase"])
        cells = [cell(parts.get_group((one, phase)), 3, True, True) for one in SHORT.values() for phase in PHASES]
        body.append([name, *cells])
    columns = [f"{structure}, {phase}" for structure in SHORT.values() for phase in PHASES]
    return table(["", *columns], body)
