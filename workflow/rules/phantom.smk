rule phantom:
    """Make the synthetic cohort as raw files in the formats of UK Biobank."""
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
        **cof(
            "phantom",
            out=f"{R}/phantom",
            settings=dump(CONFIG.phantom),
            seed=CONFIG.seed,
        ),
    shell:
        "OMP_NUM_THREADS=1 exec {params.command} {params.options} --workers {threads} 2> {log:q}"
