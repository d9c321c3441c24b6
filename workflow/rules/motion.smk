rule toppr:
    """TOPPR training: topology-preserving registration with the frozen nnU-Net as teacher."""
    input:
        subjects=rules.cohort.output.subjects,
        cine=batches(rules.cine.output.cine),
        labels=batches(rules.label.output.labels),
        grid=batches(rules.grid.output.grid),
        labeller=rules.labeller.output.labeller,
    output:
        weights=directory(f"{R}/registrations/{{registration}}"),
    log:
        f"{R}/logs/toppr/{{registration}}.log",
    benchmark:
        f"{R}/benchmarks/toppr/{{registration}}.tsv"
    conda:
        "../../envs/cof.yaml"
    threads: 8
    params:
        settings=lambda wildcards: dump(CONFIG.registrations[wildcards.registration]),
        cine=lambda wildcards, input: options("cine", input.cine),
        labels=lambda wildcards, input: options("labels", input.labels),
        grid=lambda wildcards, input: options("grid", input.grid),
        work=f"{R}/checkpoints/registrations/{{registration}}",
        seed=CONFIG.seed,
        source=source("motion", "training", "folders", "cine/grid", "labels/teacher"),
    shell:
        "cof toppr --subjects {input.subjects:q} {params.cine} {params.labels} {params.grid}"
        " --labeller {input.labeller:q} --out {output.weights:q} --work {params.work:q}"
        " --settings {params.settings:q} --seed {params.seed} 2> {log:q}"


rule register:
    """The displacement path of every subject over its cycle."""
    input:
        grid=rules.grid.output.grid,
        weights=rules.toppr.output.weights,
    output:
        fields=directory(f"{R}/fields/{{registration}}/{{batch}}"),
        exclusions=f"{R}/exclusions/fields/{{registration}}/{{batch}}.parquet",
    log:
        f"{R}/logs/register/{{registration}}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/register/{{registration}}/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        source=source("motion", "folders", "cine/grid", "labels/teacher"),
    shell:
        "cof register --grid {input.grid:q} --weights {input.weights:q} --out {output.fields:q}"
        " --exclusions {output.exclusions:q} 2> {log:q}"


if SYNTHETIC:

    rule exact_motion:
        """The exact motion of the synthetic held-out subjects, in the place of registered motion."""
        input:
            key=rules.cohort.output.key,
            cine=rules.cine.output.cine,
            grid=rules.grid.output.grid,
            truth=rules.phantom.output.truth,
        output:
            fields=directory(f"{R}/fields/{cof.config.TRUTH}/{{batch}}"),
            exclusions=f"{R}/exclusions/fields/{cof.config.TRUTH}/{{batch}}.parquet",
        log:
            f"{R}/logs/exact_motion/{{batch}}.log",
        benchmark:
            f"{R}/benchmarks/exact_motion/{{batch}}.tsv"
        conda:
            "../../envs/cof.yaml"
        params:
            source=source(
                "metrics/exact_motion",
                "metrics/truth",
                "metrics/sampling",
                "motion",
                "folders",
            ),
        shell:
            "cof exact-motion --key {input.key:q} --cine {input.cine:q} --grid {input.grid:q} --truth {input.truth:q}"
            " --out {output.fields:q} --exclusions {output.exclusions:q} 2> {log:q}"
