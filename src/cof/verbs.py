"""The verbs of the command line: the function of each, and a one-line summary.

A verb's options are the annotated parameters of its function (`cof.options`), so that none is named here.
`cof.artefacts.sources` reads the table as text: keep it a literal.
"""

# Group on the help page -> verb -> (function as module:name, summary). `sheet ukb` is a sub-command of `sheet`.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "The chain": {
        "phantom": (
            "cof.phantom.stage:make_cohort",
            "Write the synthetic cohort: raw files as UK Biobank delivers them, and the truth beside them.",
        ),
        "cohort": ("cof.cohort:build_cohort", "Read the subject sheet; assign pseudonyms, splits and batches."),
        "batch": ("cof.cohort:select_batch", "Select the subjects of one batch."),
        "ecg": ("cof.ecg.stage:parse_batch", "Parse the ECG files of a batch."),
        "beats": ("cof.ecg.stage:beats_batch", "Crop one representative R-R cycle of each ECG."),
        "cine": ("cof.cine.stage:stack_batch", "Stack short-axis cines on their native grid."),
        "hashes": ("cof.overlap:hash_batch", "Hash the ECGs and anchors of a batch, to recognise them in other runs."),
        "overlap": (
            "cof.overlap:refuse_overlap",
            "Refuse borrowed networks that have learnt from held-out subjects of a batch.",
        ),
        "labeller": ("cof.labels.stage:train", "Train nnU-Net on the annotated ED and ES stacks."),
        "label": ("cof.labels.stage:label_batch", "Label every frame of a batch with nnU-Net."),
        "quality": (
            "cof.quality.stage:measure_batch",
            "Measure the quality of a batch's ECGs and cines; leave out subjects beyond the limits.",
        ),
        "grid": ("cof.cine.stage:grid_batch", "Resample and crop the cines of a batch to the canonical grid."),
        "toppr": ("cof.motion.stage:train", "Train TOPPR, the topology-preserving registration."),
        "fields": (
            "cof.motion.stage:register_batch",
            "Register every frame of a batch to its anchor: the displacement paths.",
        ),
        "exact-motion": (
            "cof.truth.stage:write_exact_fields",
            "Write the exact motion of a synthetic batch, to be used in place of registered motion.",
        ),
        "train": ("cof.models.stage:train", "Train one model of any family."),
        "twins": ("cof.twins.stage:generate_batch", "Generate the 4D hearts of a batch's held-out subjects."),
        "evaluate": ("cof.metrics.stage:evaluate_batch", "Compare a batch's generated hearts with the real ones."),
        "intervals": (
            "cof.metrics.calibration:calibrate",
            "Calibrate a model's intervals on the validation subjects.",
        ),
        "features": (
            "cof.features.stage:features_batch",
            "Compute the features of a batch's held-out hearts, from which Fréchet distances are computed.",
        ),
    },
    "One heart": {
        "twin": ("cof.twins.single:twin_from_files", "Make one heart from one ECG and one scan."),
        "export": (
            "cof.twins.exports.stage:export_twin",
            "Write a heart of `cof twin` in the formats of other software.",
        ),
        "register": (
            "cof.motion.register:register_volumes",
            "Register two volumes; write the displacement, the warped MOVING, the Jacobian determinants "
            "and measures of the registration.",
        ),
    },
    "Tables and report": {
        "export-hearts": (
            "cof.twins.exports.cohort:export_hearts",
            "Write chosen hearts of a cohort as pages or in other formats.",
        ),
        "attainable": (
            "cof.tables.attainable:measure_attainable",
            "Measure what a regression of plain measurements predicts of the held-out subjects.",
        ),
        "table": ("cof.tables.stage:make_table", "Make one table from the metrics of its models."),
        "cost": (
            "cof.tables.stage:make_cost",
            "List what each model of a table has cost: parameters, samples, hours, seconds per heart, memory.",
        ),
        "figure": ("cof.figures.stage:make_figure", "Draw one figure of the paper from the results of a run."),
        "report": ("cof.report.stage:make_report", "Make the HTML report."),
    },
    "Tools": {
        "sheet files": (
            "cof.sheets.stage:sheet_of_files",
            "Find files by patterns of paths relative to FOLDER, with {subject}, {visit}, `*` and `**`; "
            "the same as `cof sheet FOLDER`.",
        ),
        "sheet ukb": (
            "cof.sheets.stage:sheet_of_ukb",
            "Find files by the names of UK Biobank's bulk files: in one folder, in folders by first digits, "
            "or in the tree of the Research Analysis Platform.",
        ),
        "sheet acdc": (
            "cof.sheets.stage:sheet_of_acdc",
            "Find patients of ACDC; write their ED and ES pairs, and annotations in our codes, beside the sheet.",
        ),
        "config": ("cof.config.check:check_config", "Check a configuration and print it with every default filled in."),
        "estimate": (
            "cof.estimate.stage:estimate_cost",
            "Estimate core-hours, GPU-hours, bytes and files of every stage, from a short calibration on this machine.",
        ),
        "lookup": (
            "cof.lookup:look_up",
            "Print the raw files behind a pseudonym; you need the right to read the key.",
        ),
        "privacy": (
            "cof.privacy:check_privacy",
            "Find numbers shaped like participant ids in files, file names and history; exit code 1 if there are any.",
        ),
    },
}

# Verbs with sub-commands; the first of them is the default.
PARENTS = {
    "sheet": "Write a subject sheet for the files in a folder: `cof sheet FOLDER ...` by patterns, or by known names.",
}

# Settings of every help page.
CONTEXT = {"help_option_names": ["-h", "--help"]}
