localrules:
    configuration,
    cost,
    fairness,


rule evaluate:
    """Compare the hearts of one model with the real hearts."""
    input:
        sheet=rules.batch.output.sheet,
        key=rules.cohort.output.key,
        beats=rules.beats.output.table,
        twins=rules.twins.output.twins,
        cine=rules.cine.output.cine,
        labels=rules.label.output.labels,
        grid=rules.grid.output.grid,
        fields=f"{R}/fields/{CONFIG.evaluation.registration}/{{batch}}",
        truth=rules.phantom.output.truth if SYNTHETIC else [],
        intervals=calibration,
    output:
        metrics=f"{R}/metrics/{{model}}/{{batch}}.parquet",
        exclusions=f"{R}/exclusions/metrics/{{model}}/{{batch}}.parquet",
    log:
        f"{R}/logs/evaluate/{{model}}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/evaluate/{{model}}/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(20, 0.5),
        mem_mb=limit(4000, 4),
    params:
        **cof("evaluate"),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


rule attainable:
    """Measure what a regression of plain measurements predicts of the held-out subjects."""
    input:
        subjects=rules.cohort.output.subjects,
        key=rules.cohort.output.key,
        beats=batches(rules.beats.output.table),
        plausibility=batches(rules.quality.output.plausibility),
        cine=batches(rules.cine.output.cine),
        truth=rules.phantom.output.truth if SYNTHETIC else [],
        trained=trained_regressions(),
    output:
        f"{R}/attainable.json",
    log:
        f"{R}/logs/attainable.log",
    benchmark:
        f"{R}/benchmarks/attainable.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        **cof("attainable", evaluation=dump(CONFIG.evaluation)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


rule table:
    """Write one table of metrics, with the paper's numbers beside ours."""
    input:
        table_metrics,
        table_features,
        subjects=rules.cohort.output.subjects,
        attainable=table_attainable,
        labeller=f"{R}/labeller",
    output:
        csv=f"{R}/tables/{{table}}.csv",
        md=report(
            f"{R}/tables/{{table}}.md",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        tex=f"{R}/tables/{{table}}.tex",
    log:
        f"{R}/logs/table/{{table}}.log",
    benchmark:
        f"{R}/benchmarks/table/{{table}}.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        **cof(
            "table",
            metrics=f"{R}/metrics",
            features=lambda wildcards: (
                f"{R}/features" if table_features(wildcards) else []
            ),
            out=lambda wildcards: f"{R}/tables/{wildcards.table}",
            settings=lambda wildcards: dump(CONFIG.tables[wildcards.table]),
            evaluation=dump(CONFIG.evaluation),
            config_hash=CONFIG_HASH,
        ),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


rule cost:
    """Write the cost of each model of a table, from its training, its hearts and the benchmarks of both."""
    input:
        table_models,
        table_twins,
    output:
        csv=f"{R}/cost/{{table}}.csv",
        md=f"{R}/cost/{{table}}.md",
        tex=f"{R}/cost/{{table}}.tex",
    log:
        f"{R}/logs/cost/{{table}}.log",
    benchmark:
        f"{R}/benchmarks/cost/{{table}}.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        **cof(
            "cost",
            results=R,
            out=lambda wildcards: f"{R}/cost/{wildcards.table}",
            settings=lambda wildcards: dump(CONFIG.tables[wildcards.table]),
            config_hash=CONFIG_HASH,
            trained=CONFIG.trained or [],
        ),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


rule fairness:
    """Copy the output of `cost` to its old name, for this release only."""
    input:
        csv=rules.cost.output.csv,
        md=rules.cost.output.md,
        tex=rules.cost.output.tex,
    output:
        csv=f"{R}/fairness/{{table}}.csv",
        md=f"{R}/fairness/{{table}}.md",
        tex=f"{R}/fairness/{{table}}.tex",
    log:
        f"{R}/logs/fairness/{{table}}.log",
    benchmark:
        f"{R}/benchmarks/fairness/{{table}}.tsv"
    conda:
        "../../envs/cof.yaml"
    message:
        renamed.remark("{output.csv}", "{input.csv}")
    shell:
        "(cp {input.csv:q} {output.csv:q} && cp {input.md:q} {output.md:q} && cp {input.tex:q} {output.tex:q}) 2> {log:q}"


rule configuration:
    """Write the validated configuration with every default filled in."""
    output:
        f"{R}/config.json",
    log:
        f"{R}/logs/configuration.log",
    benchmark:
        f"{R}/benchmarks/configuration.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        text=dump(CONFIG),
    shell:
        "(echo {params.text:q} > {output:q}.part && mv {output:q}.part {output:q}) 2> {log:q}"


rule report:
    """Write the HTML report."""
    input:
        expand(rules.table.output.csv, table=CONFIG.tables),
        expand(rules.cost.output.csv, table=CONFIG.tables),
        batches(rules.quality.output.table),
        batches(rules.quality.output.plausibility),
        [] if ONLY else rules.twins_export.output,
        [] if ONLY else expand(rules.figure.output, figure=FIGURES),
        config=rules.configuration.output[0],
    output:
        directory(f"{R}/report"),
    log:
        f"{R}/logs/report.log",
    benchmark:
        f"{R}/benchmarks/report.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        **cof("report", results=R),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


# One rule per table with the name of the table: `snakemake table1`.
for name in CONFIG.tables:

    rule:
        name:
            name
        input:
            f"{R}/tables/{name}.csv",
            f"{R}/cost/{name}.csv",


FINAL = (
    expand(rules.evaluate.output.metrics, model=CONFIG.models, batch=RUN_BATCHES)
    if ONLY
    else rules.report.output
)
