"""Values that are not defined, which the means of a table leave out: their share, and the remark that gives it."""

from collections.abc import Collection, Mapping

import pandas as pd

from cof.config.metrics import Metric

# A smaller share is not printed as 0.0 %, which would say that there is none.
LEAST_SHARE = 0.001


def undefined_shares(rows: pd.DataFrame, metric: Metric) -> pd.Series:
    """Return for each subject of long-form `rows` which share of the metric's values is NaN.

    A value belongs to a frame, to a slice, or to the subject. Subjects without a row of the metric are left out.
    """
    chosen = rows[(rows["metric"] == metric.metric) & (rows["structure"] == metric.structure)]
    return chosen["value"].isna().groupby(chosen["subject"]).mean()


def undefined_remark(
    shares: Mapping[tuple[str, str], pd.Series],
    models: Mapping[str, str],
    metrics: tuple[Metric, ...],
    subjects: Collection[str],
) -> tuple[str, ...]:
    """Return the remark on all cells of a table with values that are left out; empty if there are none.

    Args:
        shares: results of `undefined_shares` by model and key of the metric.
        models: printed names by model.
        metrics: columns of the table.
        subjects: subjects of the table.
    """
    columns = []
    for metric in metrics:
        cells = []
        for model, name in models.items():
            of_model = shares.get((model, metric.key), pd.Series(dtype=float))
            share = of_model[of_model.index.isin(subjects)].mean()
            if share > 0:
                cells.append(f"{name} {f'{100 * share:.1f}' if share >= LEAST_SHARE else '< 0.1'} %")
        if cells:
            columns.append(f"{metric.label} ({', '.join(cells)})")
    if not columns:
        return ()
    return (f"Not defined for a share of the frames or hearts, which the mean leaves out: {'; '.join(columns)}.",)
