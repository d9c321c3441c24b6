rule train:
    """Training of one model of any family; for COF, flow training."""
    input:
        subjects=rules.cohort.output.subjects,
        beats=batches(rules.beats.output.table),
        grid=batches(rules.grid.output.grid),
        labels=batches(rules.label.output.labels),
        fields=model_fields,
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
    params:
        settings=lambda wildcards: dump(CONFIG.models[wildcards.model]),
        beats=lambda wildcards, input: options("beats", input.beats),
        grid=lambda wildcards, input: options("grid", input.grid),
        labels=lambda wildcards, input: options("labels", input.labels),
        fields=lambda wildcards, input: options("fields", input.fields),
        base=lambda wildcards, input: options(
            "base", [input.base] if input.base else []
        ),
        work=f"{R}/checkpoints/models/{{model}}",
        seed=CONFIG.seed,
        source=source(
            "models", "motion", "training", "folders", "cine/grid", "metrics/function"
        ),
    shell:
        "cof train --subjects {input.subjects:q} {params.beats} {params.grid} {params.labels} {params.fields} {params.base}"
        " --out {output.model:q} --work {params.work:q} --settings {params.settings:q}"
        " --seed {params.seed} 2> {log:q}"
