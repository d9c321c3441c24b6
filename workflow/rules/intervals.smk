# Conformal intervals: hearts of the validation subjects, their errors, and the quantiles of these errors. Only the models
# in `intervals.models` use these rules.
localrules:
    intervals,


use rule twins as calibration_twins with:
    output:
        twins=directory(f"{R}/calibration/twins/{{model}}/{{batch}}"),
        exclusions=f"{R}/exclusions/calibration/twins/{{model}}/{{batch}}.parquet",
    log:
        f"{R}/logs/calibration_twins/{{model}}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/calibration_twins/{{model}}/{{batch}}.tsv"
    params:
        **cof("twins", split=["validation"], **TWINS),


use rule evaluate as calibration_metrics with:
    input:
        sheet=rules.batch.output.sheet,
        key=rules.cohort.output.key,
        beats=rules.beats.output.table,
        twins=rules.calibration_twins.output.twins,
        cine=rules.cine.output.cine,
        labels=rules.label.output.labels,
        grid=rules.grid.output.grid,
        fields=rules.evaluate.input.fields,
        truth=rules.phantom.output.truth if SYNTHETIC else [],
        intervals=[],
    output:
        metrics=f"{R}/calibration/metrics/{{model}}/{{batch}}.parquet",
        exclusions=f"{R}/exclusions/calibration/metrics/{{model}}/{{batch}}.parquet",
    log:
        f"{R}/logs/calibration_metrics/{{model}}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/calibration_metrics/{{model}}/{{batch}}.tsv"


rule intervals:
    """Calibrate the intervals of one model on the validation subjects."""
    input:
        subjects=rules.cohort.output.subjects,
        metrics=batches(rules.calibration_metrics.output.metrics),
    output:
        f"{R}/intervals/{{model}}.json",
    log:
        f"{R}/logs/intervals/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/intervals/{{model}}.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        **cof("intervals", settings=dump(CONFIG.intervals)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
