localrules:
    cohort,


rule cohort:
    """Pseudonyms, splits and batches of the subject sheet; the key stays apart and protected."""
    input:
        sheets=CONFIG.cohort.sheets or rules.phantom.output.sheet,
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
        settings=dump(CONFIG.cohort),
        sheets=lambda wildcards, input: options("sheet", input.sheets),
        source=source_of("cohort"),
    shell:
        "exec cof cohort {params.sheets} --out {output.subjects:q} --key {output.key:q}"
        " --settings {params.settings:q} --overwrite > >(tee {log:q}) 2>&1"


rule batch:
    """The subjects of one batch."""
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
        only=lambda wildcards: options(
            "only", ONLY if wildcards.batch.startswith("only-") else []
        ),
        source=source_of("batch"),
    shell:
        "exec cof batch --subjects {input.subjects:q} --name {wildcards.batch} {params.only}"
        " --out {output.sheet:q} --overwrite 2> {log:q}"
