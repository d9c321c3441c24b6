rule features:
    """Features of one model's hearts, between which and those of the real ones Fréchet distances are computed."""
    input:
        sheet=rules.batch.output.sheet,
        grid=rules.grid.output.grid,
        twins=rules.twins.output.twins,
        labeller=f"{R}/labeller",
        weights=extractor_weights(),
    output:
        features=f"{R}/features/{{model}}/{{batch}}.safetensors",
        exclusions=f"{R}/exclusions/features/{{model}}/{{batch}}.parquet",
    log:
        f"{R}/logs/features/{{model}}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/features/{{model}}/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(20, 1),
        mem_mb=limit(8000),
    params:
        twins=lambda wildcards, input: options("twins", [input.twins]),
        splits=options("split", SPLITS),
        settings=dump(CONFIG.evaluation.extractors),
        source=source_of("features"),
    shell:
        "exec cof features --sheet {input.sheet:q} --grid {input.grid:q} {params.twins} --labeller {input.labeller:q}"
        " --out {output.features:q} --exclusions {output.exclusions:q} --settings {params.settings:q} {params.splits} --overwrite 2> {log:q}"


use rule features as real_features with:
    input:
        sheet=rules.batch.output.sheet,
        grid=rules.grid.output.grid,
        labeller=f"{R}/labeller",
        weights=extractor_weights(),
    output:
        features=f"{R}/features/{REAL}/{{batch}}.safetensors",
        exclusions=f"{R}/exclusions/features/{REAL}/{{batch}}.parquet",
    log:
        f"{R}/logs/features/{REAL}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/features/{REAL}/{{batch}}.tsv"
    params:
        twins="",
        splits=options("split", SPLITS),
        settings=dump(CONFIG.evaluation.extractors),
        source=source_of("features"),
