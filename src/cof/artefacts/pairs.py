"""Pairs: subjects that bring ED and ES alone, as the cohort tells them from those with a cine."""

import math

import pandas as pd


def es_phases(cohort: pd.DataFrame) -> pd.Series:
    """The phase of ES of every subject that brings a pair, NaN of every other; by the subjects' names.

    Args:
        cohort: `cohort/subjects.parquet`, or the rows of a batch.
    """
    phases = cohort["es_phase"] if "es_phase" in cohort else pd.Series(math.nan, cohort.index)
    return phases.astype(float).set_axis(cohort["subject"])
