rule toppr:
    """Train TOPPR, the topology-preserving registration, with the frozen nnU-Net as teacher."""
    input:
        subjects=rules.cohort.output.subjects,
        cine=batches(rules.cine.output.cine),
        labels=batches(rules.label.output.labels),
        grid=batches(rules.grid.output.grid),
        annotations=lambda wildcards: (
            batches(rules.cine.output.annotations)
            if CONFIG.registrations[wildcards.registration].lambda_labels
            else []
        ),
        hashes=batches(rules.hashes.output.table),
        labeller=f"{R}/labeller",
    output:
        weights=directory(f"{R}/registrations/{{registration}}"),
    log:
        f"{R}/logs/toppr/{{registration}}.log",
    benchmark:
        f"{R}/benchmarks/toppr/{{registration}}.tsv"
    conda:
        "../../envs/cof.yaml"
    threads: 8
    resources:
        launcher="",  # a command that starts several processes on several nodes: docs/how-to/cluster.md
    params:
        **cof(
            "toppr",
            work=lambda wildcards: f"{R}/checkpoints/registrations/{wildcards.registration}",
            settings=lambda wildcards: dump(
                CONFIG.registrations[wildcards.registration].trained()
            ),
            seed=CONFIG.seed,
            curves=lambda wildcards: f"{R}/logs/toppr/{wildcards.registration}",
        ),
    shell:
        "{resources.launcher} {params.command} {params.options} 2> {log:q}"


rule fields:
    """Compute the displacement path of every subject over its cycle."""
    input:
        grid=rules.grid.output.grid,
        weights=rules.toppr.output.weights,
        labels=lambda wildcards: (
            f"{R}/labels/{wildcards.batch}"
            if CONFIG.registrations[wildcards.registration].path.needs_labels
            else []
        ),
    output:
        fields=directory(f"{R}/fields/{{registration}}/{{batch}}"),
        exclusions=f"{R}/exclusions/fields/{{registration}}/{{batch}}.parquet",
    log:
        f"{R}/logs/fields/{{registration}}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/fields/{{registration}}/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(30, 1),
        mem_mb=limit(16000),
    params:
        **cof(
            "fields",
            settings=lambda wildcards: dump(
                CONFIG.registrations[wildcards.registration].path
            ),
        ),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


if SYNTHETIC:

    rule exact_motion:
        """Write the exact motion of the synthetic held-out subjects, in the form of registered motion."""
        input:
            key=rules.cohort.output.key,
            cine=rules.cine.output.cine,
            grid=rules.grid.output.grid,
            truth=rules.phantom.output.truth,
        output:
            fields=directory(f"{R}/fields/{TRUTH}/{{batch}}"),
            exclusions=f"{R}/exclusions/fields/{TRUTH}/{{batch}}.parquet",
        log:
            f"{R}/logs/exact_motion/{{batch}}.log",
        benchmark:
            f"{R}/benchmarks/exact_motion/{{batch}}.tsv"
        conda:
            "../../envs/cof.yaml"
        resources:
            runtime=limit(30, 1),
            mem_mb=limit(16000),
        params:
            **cof("exact-motion"),
        shell:
            "exec {params.command} {params.options} 2> {log:q}"
