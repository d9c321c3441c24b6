rule phantom:
    """The synthetic cohort, as raw files in the formats of UK Biobank."""
    output:
        sheet=f"{R}/phantom/subjects.csv",
        raw=directory(f"{R}/phantom/raw"),
        truth=directory(f"{R}/phantom/truth"),
        couplings=f"{R}/phantom/card.json",
        card=report(
            f"{R}/phantom/card.md",
            caption="../report/cohort_card.rst",
            category="Cohort",
        ),
        provenance=f"{R}/phantom/provenance.json",
    log:
        f"{R}/logs/phantom.log",
    benchmark:
        f"{R}/benchmarks/phantom.tsv"
    conda:
        "../../envs/cof.yaml"
    threads: 8
    params:
        settings=dump(CONFIG.phantom),
        seed=CONFIG.seed,
        out=lambda wildcards, output: Path(output.sheet).parent,
        source=source_of("phantom"),
    shell:
        "OMP_NUM_THREADS=1 exec cof phantom --out {params.out:q} --settings {params.settings:q} --seed {params.seed}"
        " --workers {threads} --overwrite 2> {log:q}"
