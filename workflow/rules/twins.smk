rule twins:
    """Inference: the held-out subjects' 4D hearts from their anchors and ECGs."""
    input:
        sheet=rules.batch.output.sheet,
        beats=rules.beats.output.table,
        cine=rules.cine.output.cine,
        labels=rules.label.output.labels,
        grid=rules.grid.output.grid,
        fields=own_fields,
        model=rules.train.output.model,
        labeller=f"{R}/labeller",
    output:
        twins=directory(f"{R}/twins/{{model}}/{{batch}}"),
        exclusions=f"{R}/exclusions/twins/{{model}}/{{batch}}.parquet",
    log:
        f"{R}/logs/twins/{{model}}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/twins/{{model}}/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(30, 1),
        mem_mb=limit(16000),
    params:
        settings=lambda wildcards: MODEL_SETTINGS[wildcards.model],
        labels_settings=dump(CONFIG.labels),
        fields=lambda wildcards, input: options("fields", input.fields),
        splits=options("split", SPLITS),
        labelling=CONFIG.twins.labels,
        seed=CONFIG.seed,
        source=source_of("twins"),
    shell:
        "exec cof twins --sheet {input.sheet:q} --beats {input.beats:q} --cine {input.cine:q}"
        " --labels {input.labels:q} --grid {input.grid:q} {params.fields} --model {input.model:q}"
        " --labeller {input.labeller:q} --out {output.twins:q} --exclusions {output.exclusions:q}"
        " --settings {params.settings:q} --labels-settings {params.labels_settings:q} {params.splits}"
        " --labelling {params.labelling}"
        " --seed {params.seed} --overwrite 2> {log:q}"
