rule features:
    """Compute the features of one model's hearts, which Fréchet distances compare with those of the real hearts."""
    input:
        extractor_weights(),
        sheet=rules.batch.output.sheet,
        grid=rules.grid.output.grid,
        twins=rules.twins.output.twins,
        labeller=f"{R}/labeller",
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
        **cof("features", split=SPLITS, settings=dump(CONFIG.evaluation.extractors)),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"


use rule features as real_features with:
    input:
        extractor_weights(),
        sheet=rules.batch.output.sheet,
        grid=rules.grid.output.grid,
        labeller=f"{R}/labeller",
    output:
        features=f"{R}/features/{REAL}/{{batch}}.safetensors",
        exclusions=f"{R}/exclusions/features/{REAL}/{{batch}}.parquet",
    log:
        f"{R}/logs/features/{REAL}/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/features/{REAL}/{{batch}}.tsv"
