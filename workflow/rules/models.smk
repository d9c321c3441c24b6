rule train:
    """Train one model of any family; for COF, by flow matching."""
    input:
        members,
        subjects=rules.cohort.output.subjects,
        beats=batches(rules.beats.output.table),
        grid=batches(rules.grid.output.grid),
        labels=batches(rules.label.output.labels),
        fields=model_fields,
        hashes=batches(rules.hashes.output.table),
        base=base_model,
    output:
        model=directory(f"{R}/models/{{model}}"),
    log:
        f"{R}/logs/train/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/train/{{model}}.tsv"
    conda:
        "../../envs/cof.yaml"
    threads: 8
    resources:
        launcher="",  # a command that starts several processes on several nodes: docs/how-to/cluster.md
    params:
        **cof(
            "train",
            member=members,
            work=lambda wildcards: f"{R}/checkpoints/models/{wildcards.model}",
            settings=lambda wildcards: MODEL_SETTINGS[wildcards.model],
            seed=CONFIG.seed,
            curves=lambda wildcards: f"{R}/logs/train/{wildcards.model}",
        ),
        package=lambda wildcards: package(CONFIG.models[wildcards.model].family),
    shell:
        "{resources.launcher} {params.command} {params.options} 2> {log:q}"
