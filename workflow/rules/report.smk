localrules:
    configuration,
    cost,
    fairness,


rule evaluate:
    """Evaluation of one model's hearts against the real ones."""
    input:
        sheet=rules.batch.output.sheet,
        key=rules.cohort.output.key,
        beats=rules.beats.output.table,
        twins=rules.twins.output.twins,
        cine=rules.cine.output.cine,
        labels=rules.label.output.labels,
        grid=rules.grid.output.grid,
        fields=expand(
            rules.fields.output.fields,
            registration=CONFIG.evaluation.registration,
            allow_missing=True,
        ),
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
        truth=options("truth", [rules.phantom.output.truth] if SYNTHETIC else []),
        intervals=lambda wildcards, input: options("intervals", input.intervals),
        source=source_of("evaluate"),
    shell:
        "exec cof evaluate --sheet {input.sheet:q} --key {input.key:q} --beats {input.beats:q} --twins {input.twins:q} --cine {input.cine:q}"
        " --labels {input.labels:q} --grid {input.grid:q} --fields {input.fields:q} {params.truth} {params.intervals}"
        " --out {output.metrics:q} --exclusions {output.exclusions:q} --overwrite 2> {log:q}"


rule table:
    """One table of the paper, ours beside its numbers."""
    input:
        subjects=rules.cohort.output.subjects,
        metrics=table_metrics,
        features=table_features,
        card=rules.phantom.output.couplings if SYNTHETIC else [],
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
        settings=lambda wildcards: dump(CONFIG.tables[wildcards.table]),
        evaluation=dump(CONFIG.evaluation),
        metrics=f"{R}/metrics",
        features=lambda wildcards, input: options(
            "features", [f"{R}/features"] if input.features else []
        ),
        card=options("card", [rules.phantom.output.couplings] if SYNTHETIC else []),
        out=lambda wildcards, output: Path(output.csv).with_suffix(""),
        config_hash=CONFIG_HASH,
        source=source_of("table"),
    shell:
        "exec cof table --subjects {input.subjects:q} --metrics {params.metrics:q} {params.features} {params.card} --labeller {input.labeller:q} --out {params.out:q} --settings {params.settings:q}"
        " --evaluation {params.evaluation:q} --config-hash {params.config_hash} --overwrite 2> {log:q}"


rule cost:
    """What each model of a table has cost, from its training, its hearts and the benchmarks of both."""
    input:
        models=table_models,
        twins=table_twins,
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
        settings=lambda wildcards: dump(CONFIG.tables[wildcards.table]),
        results=lambda wildcards, output: Path(output.csv).parents[1],
        out=lambda wildcards, output: Path(output.csv).with_suffix(""),
        config_hash=CONFIG_HASH,
        trained=options("trained", [CONFIG.trained] if CONFIG.trained else []),
        source=source_of("cost"),
    shell:
        "exec cof cost --results {params.results:q} --out {params.out:q} --settings {params.settings:q} {params.trained}"
        " --config-hash {params.config_hash} --overwrite 2> {log:q}"


rule fairness:
    """The old name of `cost`, for this release."""
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
    """The configuration as it was understood, every default filled in."""
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
    """The HTML report."""
    input:
        config=rules.configuration.output,
        tables=expand(rules.table.output.csv, table=CONFIG.tables),
        cost=expand(rules.cost.output.csv, table=CONFIG.tables),
        quality=batches(rules.quality.output.table),
        plausibility=batches(rules.quality.output.plausibility),
    output:
        directory(f"{R}/report"),
    log:
        f"{R}/logs/report.log",
    benchmark:
        f"{R}/benchmarks/report.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        results=lambda wildcards, input: Path(input.config[0]).parent,
        source=source_of("report"),
    shell:
        "exec cof report --results {params.results:q} --config {input.config:q} --out {output:q} --overwrite 2> {log:q}"


# Every table by its name: `snakemake table1`.
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
