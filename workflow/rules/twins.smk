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


rule twins_export:
    """Write the hearts that the report shows, or those of the chosen subjects, in the formats of `twins.exports`."""
    input:
        expand(
            rules.twins.output.twins,
            model=CONFIG.report.model,
            batch=RUN_BATCHES,
        ),
        expand(rules.cine.output.cine, batch=RUN_BATCHES),
        expand(rules.label.output.labels, batch=RUN_BATCHES),
        expand(rules.beats.output.table, batch=RUN_BATCHES),
        expand(rules.ecg.output.table, batch=RUN_BATCHES),
        expand(rules.quality.output.table, batch=RUN_BATCHES),
        rules.cohort.output.subjects,
        f"{R}/models/{CONFIG.report.model}",
        f"{R}/labeller",
    output:
        directory(
            f"{R}/exports/{CONFIG.report.model}"
            + (f"-{RUN_BATCHES[0]}" if ONLY else "")
        ),
        exclusions=f"{R}/exclusions/exports/"
        + (RUN_BATCHES[0] if ONLY else CONFIG.report.model)
        + ".parquet",
    log:
        f"{R}/logs/twins_export.log",
    benchmark:
        f"{R}/benchmarks/twins_export.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(30),
        mem_mb=limit(8000),
    params:
        **cof(
            "export-hearts",
            results=R,
            model=CONFIG.report.model,
            formats=",".join(CONFIG.twins.exports),
            count=CONFIG.report.subjects,
            batch=RUN_BATCHES[0] if ONLY else [],
        ),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
