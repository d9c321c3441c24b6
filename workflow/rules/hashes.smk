rule hashes:
    """Hash ECGs and anchors, by which a run recognises held-out subjects that a borrowed network has learnt from."""
    input:
        ecg=rules.ecg.output.table,
        cine=rules.cine.output.cine,
    output:
        table=f"{R}/hashes/{{batch}}.parquet",
    log:
        f"{R}/logs/hashes/{{batch}}.log",
    benchmark:
        f"{R}/benchmarks/hashes/{{batch}}.tsv"
    conda:
        "../../envs/cof.yaml"
    resources:
        runtime=limit(10, 0.1),
        mem_mb=limit(2000, 4),
    params:
        **cof("hashes"),
    shell:
        "exec {params.command} {params.options} 2> {log:q}"
