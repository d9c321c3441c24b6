"""The section of metrics and terms: definitions of the words on the page."""

from cof.config.metrics import METRICS
from cof.report.section import Sources

TERMS = (
    ("anchor", "the end-diastolic volume that provides the anatomy; the only image that the model gets at generation"),
    ("cycle", "one heart beat from R peak to R peak; its phase runs from 0 to 1"),
    ("end diastole, ED", "the start of the cycle, when the ventricle is largest; frame 0 of every cine"),
    ("end systole, ES", "the time at which the left ventricle is smallest"),
    ("EDV, ESV", "volume of the left ventricle at end diastole and at end systole"),
    ("SV, EF", "stroke volume, EDV - ESV; ejection fraction, SV as a share of EDV"),
    ("held out", "in the test split: not used by any training"),
    (
        "TOPPR",
        "the topology-preserving registration; the motion that it finds in the training hearts supervises the model",
    ),
    ("twin", "the heart generated from one subject's ECG and anchor"),
)


def context(sources: Sources) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the metrics of the tables and the terms of this page, each with its definition.

    For a run without tables, these are all configured metrics.
    """
    results, defined = sources.results, sources.above["numbers"]["defined"]
    keys = dict.fromkeys(key for table in results.config.tables.values() for key in table.metrics if key in METRICS)
    keys = {key: None for key in keys if key in defined or not defined}
    better = {"up": "higher is better", "down": "lower is better"}
    metrics = [(f"{METRICS[key].label} ({better[METRICS[key].better]})", METRICS[key].definition) for key in keys]
    return [("Metrics of the tables", metrics), ("Terms", list(TERMS))]
