rule twins:
    """Generate the 4D hearts of the held-out subjects from their anchors and ECGs."""
    input:
        sheet=rules.batch.output.sheet,
        beats=rules.beats.output.table,
        cine=rules.cine.output.cine,
        labels=rules.label.output.labels,
        grid=rules.grid.output.grid,
        fields=own_fields,
        model=rules.train.output.model,
        labeller=f"{R}/labeller",
    output:
        twins=directory(f"{R}/twins/{{model}}/{{batch}}"),
        exclusions=f"{R}/exclusions/twins/{{model}}/{{batch}}.parquet",
    log:
        f"{R}/logs/twins/{{model}}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/twins/{{model}}/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(30, 1),
        mem_mb=limit(16000),
    params:
        **cof("twins", split=SPLITS, **TWINS),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
