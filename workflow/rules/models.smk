rule train:
    """Training of one model of any family; for COF, flow training."""
    input:
        subjects=rules.cohort.output.subjects,
        beats=batches(rules.beats.output.table),
        grid=batches(rules.grid.output.grid),
        labels=batches(rules.label.output.labels),
        fields=model_fields,
        base=base_model,
        members=members,
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
        launcher="",  # what starts several processes on several nodes: docs/how-to/cluster.md
    params:
        settings=lambda wildcards: MODEL_SETTINGS[wildcards.model],
        package=lambda wildcards: package(CONFIG.models[wildcards.model].family),
        beats=stage("beats"),
        grid=stage("grid"),
        labels=stage("labels"),
        fields=fields_option,
        base=lambda wildcards, input: options("base", input.base),
        members=lambda wildcards, input: options("member", input.members),
        work=f"{R}/checkpoints/models/{{model}}",
        seed=CONFIG.seed,
        curves=f"{R}/logs/train/{{model}}",
        source=source_of("train"),
    shell:
        "{resources.launcher} cof train --subjects {input.subjects:q} --beats {params.beats:q} --grid {params.grid:q} --labels {params.labels:q} {params.fields} {params.base} {params.members}"
        " --out {output.model:q} --work {params.work:q} --settings {params.settings:q}"
        " --seed {params.seed} --curves {params.curves:q} --overwrite 2> {log:q}"
