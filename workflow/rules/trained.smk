# What another run has trained, in the place of what would be trained here; what it has not is trained here after all. Only
# the family `shuffled` is always made here: it exchanges the ECGs of this cohort's held-out subjects.
if CONFIG.trained:
    MISSING = [name for name in trainable(CONFIG) if name not in BORROWED]
    if not BORROWED:
        raise WorkflowError(
            f"trained: nothing of this configuration lies in {CONFIG.trained}"
        )
    if SYNTHETIC and not CONFIG.phantom.train and MISSING:
        raise WorkflowError(
            f"trained: nobody to train on, and {CONFIG.trained} lacks {', '.join(MISSING)}"
        )

    if workflow.is_main_process:
        for remark in AS_TRAINED:
            logger.warning(f"trained: {remark}")

    localrules:
        borrow,

    ruleorder: borrow > labeller
    ruleorder: borrow > toppr
    ruleorder: borrow > train

    rule borrow:
        """A copy of what another run has trained."""
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
        shell:
            "(rm -rf {output:q}.part && cp -R {input:q} {output:q}.part && mv {output:q}.part {output:q}) 2> {log:q}"

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
