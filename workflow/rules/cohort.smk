localrules:
    cohort,


rule cohort:
    """Assign pseudonyms, splits and batches to the subjects of the sheet; write the key to a protected file."""
    input:
        CONFIG.cohort.sheets or rules.phantom.output.sheet,
    output:
        subjects=f"{R}/cohort/subjects.parquet",
        key=f"{R}/cohort/key.parquet",
    log:
        f"{R}/logs/cohort.log",
    benchmark:
        f"{R}/benchmarks/cohort.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        **cof(
            "cohort",
            sheet=CONFIG.cohort.sheets or [rules.phantom.output.sheet],
            settings=dump(CONFIG.cohort),
        ),
    shell:
        "exec {params.command} {params.options} > >(tee {log:q}) 2>&1"


rule batch:
    """Select the subjects of one batch."""
    input:
        subjects=rules.cohort.output.subjects,
    output:
        sheet=f"{R}/cohort/batches/{{batch}}.parquet",
    log:
        f"{R}/logs/batch/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/batch/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(10),
        mem_mb=limit(2000),
    params:
        **cof(
            "batch",
            name=lambda wildcards: wildcards.batch,
            only=lambda wildcards: ONLY if wildcards.batch.startswith("only-") else [],
        ),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
