# What another run has trained, in the place of what would be trained here; what it has not is trained here after all. Only
# a model that keeps something of this cohort's held-out subjects is always made here.
if CONFIG.trained:
    if workflow.is_main_process:
        for remark in AS_TRAINED:
            logger.warning(f"trained: {remark}")
        if LEFT_OUT:
            logger.warning(
                f"no training subject: {', '.join(LEFT_OUT)} left out of the tables"
            )

    localrules:
        borrow,

    ruleorder: borrow > labeller
    ruleorder: borrow > toppr
    ruleorder: borrow > train

    rule borrow:
        """A copy of what another run has trained, with a note of where that was."""
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
        borrow_intervals,

    ruleorder: borrow_intervals > intervals

    rule borrow_intervals:
        """A copy of the intervals that another run has calibrated: this cohort may have no validation subjects."""
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
