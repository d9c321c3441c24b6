rule labeller:
    """Train nnU-Net on the annotated ED and ES stacks."""
    input:
        subjects=rules.cohort.output.subjects,
        cine=batches(rules.cine.output.cine),
        annotations=batches(rules.cine.output.annotations),
        hashes=batches(rules.hashes.output.table),
    output:
        labeller=directory(f"{R}/labeller"),
    log:
        f"{R}/logs/labeller.log",
    benchmark:
        f"{R}/benchmarks/labeller.tsv"
    conda:
        "../../envs/cof.yaml"
    threads: 8
    params:
        **cof(
            "labeller",
            work=f"{R}/checkpoints/labeller",
            settings=dump(CONFIG.labels),
            seed=CONFIG.seed,
        ),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


rule label:
    """Label every frame with nnU-Net."""
    input:
        overlap_check,
        cine=rules.cine.output.cine,
        labeller=f"{R}/labeller",
    output:
        labels=directory(f"{R}/labels/{{batch}}"),
        exclusions=f"{R}/exclusions/labels/{{batch}}.parquet",
    log:
        f"{R}/logs/label/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/label/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(30, 1),
        mem_mb=limit(16000),
    params:
        **cof("label", settings=dump(CONFIG.labels)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
