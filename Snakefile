# Chain of Flow: from a 12-lead ECG and one anatomical anchor volume to a beating 4D heart.
# The workflow: raw -> ecg -> beats -> cine -> labels -> quality -> grid -> motion -> models -> twins -> metrics -> report
from snakemake.utils import min_version

min_version("9.0")

# Snakemake puts the keys of the command line's configuration first, so they would become the first rows of a table.
if not workflow.modifier.skip_configfile:
    config.clear()


configfile: f"{workflow.basedir}/config.yaml"


report: "workflow/report/workflow.rst"


# Used only with --software-deployment-method apptainer: docs/start/install.md.
container: "envs/cof.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/phantom.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/ecg.smk"
include: "workflow/rules/cine.smk"
include: "workflow/rules/hashes.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/motion.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/trained.smk"
include: "workflow/rules/twins.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/intervals.smk"


# The last line of a run says what to open. Single jobs, as on a cluster, do not print it.
onsuccess:
    if workflow.is_main_process:
        page = Path(R, "report/index.html")
        if ONLY:
            print(f"The generated hearts are in {R}/twins/MODEL/{RUN_BATCHES[0]}.")
        elif page.is_file():
            print(f"Open {page} in a browser.")


localrules:
    all,


rule all:
    default_target: True
    input:
        FINAL,
