"""The section of the registration."""

import pandas as pd
from cells import cell, groups_of, table

from labels import SHORT

# Mean Dice of LV, myocardium and RV, ED to ES, on ACDC's test patients, as H. Zhang et al. report them: MemWarp, MICCAI
# 2024, arXiv 2407.08093, table 1.
PUBLISHED = {
    "no registration": "0.581",
    "VoxelMorph": "0.753",
    "TransMorph": "0.750",
    "LKU-Net": "0.765",
    "the same with labels in training": "0.811 to 0.831",
    "MemWarp": "0.896",
}


def say_registration(rows: pd.DataFrame) -> str:
    """Write what every method reaches; of patients also by group, beside published numbers."""
    body, by_group = [], []
    groups = groups_of(rows)
    for method, these in rows.groupby("method", sort=False):
        means = these.groupby("patient")["dice"].mean()
        cells = [cell(these.loc[these["structure"] == name, "dice"]) for name in SHORT.values()]
        far = [cell(these.loc[these["structure"] == name, "hd95_mm"], 1) for name in SHORT.values()]
        one = these[these["structure"] == "LV"]
        cost = [cell(one["cpu_s"], 2), cell(one["wall_s"], 2)]
        whole = [cell(one["sd_log_jacobian"]), cell(one["folded_pct"], 4), *cost]
        body.append([str(method), *cells, cell(means, interval=True), " / ".join(far), *whole])
        by_group.append([str(method), *(cell(these.loc[these["group"] == group, "dice"]) for group in groups)])
    columns = ["", *SHORT.values(), "mean Dice", "HD95, mm", "SD log J", "J <= 0, %", "CPU s", "wall s"]
    if not groups:
        return table(columns, body)
    return "\n\n".join(
        [
            table(columns, body),
            "Mean Dice by group:",
            table(["", *groups], by_group),
            "Published mean Dice, on ACDC's test patients, which are others (MemWarp, MICCAI 2024, arXiv 2407.08093, "
            "table 1):",
            table(["", "mean Dice"], [[name, value] for name, value in PUBLISHED.items()]),
        ]
    )
