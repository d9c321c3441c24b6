# Artefacts that another run has trained (`trained`) replace trainings of this run; all others are trained here. A model
# that keeps data of this cohort's held-out subjects is always made here.
if CONFIG.trained:
    if workflow.is_main_process:
        for remark in AS_TRAINED:
            logger.warning(f"trained: {remark}")
        if LEFT_OUT:
            logger.warning(
                f"the cohort has no training subjects: {', '.join(LEFT_OUT)} left out of the tables"
            )

    localrules:
        borrow,

    ruleorder: borrow > labeller
    ruleorder: borrow > toppr
    ruleorder: borrow > train

    rule borrow:
        """Copy an artefact that another run has trained, with a note of its origin."""
        input:
            f"{CONFIG.trained}/{{artefact}}",
        output:
            directory(f"{R}/{{artefact}}"),
        log:
            f"{R}/logs/borrow/{{artefact}}.log",
        benchmark:
            f"{R}/benchmarks/borrow/{{artefact}}.tsv"
        wildcard_constraints:
            artefact="|".join(BORROWED),
        conda:
            "../../envs/cof.yaml"
        params:
            note=json.dumps({"from": CONFIG.trained}),
            name=BORROWED_NOTE,
        shell:
            "(rm -rf {output:q}.part && cp -R {input:q} {output:q}.part && echo {params.note:q} > {output:q}.part/{params.name}"
            " && mv {output:q}.part {output:q}) 2> {log:q}"

    localrules:
        overlap,

    rule overlap:
        """Refuse borrowed networks that have learnt from held-out subjects of this run."""
        input:
            [f"{R}/{name}" for name in BORROWED],
            sheet=rules.batch.output.sheet,
            hashes=rules.hashes.output.table,
        output:
            f"{R}/overlap/{{batch}}.json",
        log:
            f"{R}/logs/overlap/{{batch}}.log",
        benchmark:
            f"{R}/benchmarks/overlap/{{batch}}.tsv"
        conda:
            "../../envs/cof.yaml"
        params:
            **cof(
                "overlap",
                artefact=[f"{R}/{name}" for name in BORROWED],
                names=lambda wildcards: f"{R}/logs/overlap/{wildcards.batch}.parquet",
            ),
        shell:
            # The error is also printed, since it is about the choice of the run's networks.
            "exec {params.command} {params.options} > >(tee {log:q}) 2>&1"

    localrules:
        borrow_intervals,

    ruleorder: borrow_intervals > intervals

    rule borrow_intervals:
        """Copy the intervals that another run has calibrated, since this cohort may have no validation subjects."""
        input:
            f"{CONFIG.trained}/intervals/{{model}}.json",
        output:
            f"{R}/intervals/{{model}}.json",
        log:
            f"{R}/logs/borrow_intervals/{{model}}.log",
        benchmark:
            f"{R}/benchmarks/borrow_intervals/{{model}}.tsv"
        conda:
            "../../envs/cof.yaml"
        shell:
            "(cp {input:q} {output:q}.part && mv {output:q}.part {output:q}) 2> {log:q}"
