rule figure:
    """Draw one figure of the paper; write its picture, its numbers and its caption."""
    input:
        figure_inputs,
        rules.cohort.output.subjects,
    output:
        svg=report(
            f"{R}/figures/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "file": "picture"},
        ),
        png=f"{R}/figures/{{figure}}.png",
        csv=report(
            f"{R}/figures/{{figure}}.csv",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "file": "numbers"},
        ),
        md=f"{R}/figures/{{figure}}.md",
        json=f"{R}/figures/{{figure}}.json",
    log:
        f"{R}/logs/figure/{{figure}}.log",
    benchmark:
        f"{R}/benchmarks/figure/{{figure}}.tsv"
    conda:
        "../../envs/cof.yaml"
    params:
        **cof(
            "figure",
            results=R,
            out=lambda wildcards: f"{R}/figures/{wildcards.figure}",
            settings=dump(DRAWN),
            evaluation=dump(CONFIG.evaluation),
            config_hash=CONFIG_HASH,
        ),
    shell:
        "exec {params.command} {wildcards.figure} {params.options} 2> {log:q}"


# Every figure: `snakemake figures`.
rule:
    name:
        "figures"
    input:
        expand(rules.figure.output, figure=FIGURES),
