"""Pairs: subjects with only ED and ES, as the cohort marks them."""

import math

import pandas as pd


def es_phases(cohort: pd.DataFrame) -> pd.Series:
    """Return the phase of ES of every subject with a pair, and NaN for all others, indexed by subject.

    Args:
        cohort: `cohort/subjects.parquet`, or the rows of a batch.
    """
    phases = cohort["es_phase"] if "es_phase" in cohort else pd.Series(math.nan, cohort.index)
    return phases.astype(float).set_axis(cohort["subject"])
