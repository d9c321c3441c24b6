rule ecg:
    """Parse ECG files."""
    input:
        sheet=rules.batch.output.sheet,
        key=rules.cohort.output.key,
    output:
        table=f"{R}/ecg/{{batch}}.parquet",
        exclusions=f"{R}/exclusions/ecg/{{batch}}.parquet",
    log:
        f"{R}/logs/ecg/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/ecg/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(10, 0.1),
        mem_mb=limit(2000, 4),
    params:
        **cof("ecg", settings=dump(CONFIG.ecg)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


rule beats:
    """Crop one representative cardiac cycle per subject, from R peak to R peak."""
    input:
        ecg=rules.ecg.output.table,
    output:
        table=f"{R}/beats/{{batch}}.parquet",
        exclusions=f"{R}/exclusions/beats/{{batch}}.parquet",
    log:
        f"{R}/logs/beats/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/beats/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(10, 0.1),
        mem_mb=limit(2000, 4),
    params:
        **cof("beats", settings=dump(CONFIG.beats)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
