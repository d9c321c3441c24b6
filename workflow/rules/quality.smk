rule quality:
    """Measure the quality of ECG and cine and the plausibility of the labels; exclude subjects beyond a limit."""
    input:
        ecg=rules.ecg.output.table,
        beats=rules.beats.output.table,
        cine=rules.cine.output.cine,
        labels=rules.label.output.labels,
        labeller=f"{R}/labeller",
    output:
        table=f"{R}/quality/{{batch}}.parquet",
        plausibility=f"{R}/plausibility/{{batch}}.parquet",
        exclusions=f"{R}/exclusions/quality/{{batch}}.parquet",
    log:
        f"{R}/logs/quality/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/quality/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(20, 0.5),
        mem_mb=limit(4000, 4),
    params:
        **cof("quality", settings=dump(CONFIG.quality.exclude)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
