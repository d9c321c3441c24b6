rule labeller:
    """nnU-Net training on the annotated ED and ES stacks."""
    input:
        subjects=rules.cohort.output.subjects,
        cine=batches(rules.cine.output.cine),
        annotations=batches(rules.cine.output.annotations),
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
        settings=dump(CONFIG.labels),
        cine=stage("cine"),
        annotations=stage("annotations"),
        work=f"{R}/checkpoints/labeller",
        seed=CONFIG.seed,
        source=source_of("labeller"),
    shell:
        "exec cof labeller --subjects {input.subjects:q} --cine {params.cine:q} --annotations {params.annotations:q}"
        " --out {output.labeller:q} --work {params.work:q} --settings {params.settings:q}"
        " --seed {params.seed} --overwrite 2> {log:q}"


rule label:
    """nnU-Net labelling of every frame."""
    input:
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
        settings=dump(CONFIG.labels),
        source=source_of("label"),
    shell:
        "exec cof label --cine {input.cine:q} --labeller {input.labeller:q} --out {output.labels:q}"
        " --exclusions {output.exclusions:q} --settings {params.settings:q} --overwrite 2> {log:q}"
