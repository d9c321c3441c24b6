rule cine:
    """Stack cines: raw short-axis archives to 4D stacks on the native grid."""
    input:
        sheet=rules.batch.output.sheet,
        key=rules.cohort.output.key,
    output:
        cine=directory(f"{R}/cine/{{batch}}"),
        annotations=directory(f"{R}/annotations/{{batch}}"),
        exclusions=f"{R}/exclusions/cine/{{batch}}.parquet",
    log:
        f"{R}/logs/cine/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/cine/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(20, 0.5),
        mem_mb=limit(4000),
    params:
        **cof("cine", settings=dump(CONFIG.cine)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


rule grid:
    """Resample cines to the canonical grid around the anchor's heart, for the subjects that passed the quality stage."""
    input:
        cine=rules.cine.output.cine,
        labels=f"{R}/labels/{{batch}}",
        excluded=f"{R}/exclusions/quality/{{batch}}.parquet",
    output:
        grid=directory(f"{R}/grid/{{batch}}"),
        exclusions=f"{R}/exclusions/grid/{{batch}}.parquet",
    log:
        f"{R}/logs/grid/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/grid/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(10, 0.5),
        mem_mb=limit(4000),
    params:
        **cof("grid", settings=dump(CONFIG.grid)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
