"""Models to leave out for a cohort without training subjects: those that learn and that no other run provides."""

from collections.abc import Collection

from cof.config import Config
from cof.config.base import TRUTH
from cof.config.evaluation import TableSettings
from cof.errors import UsageError


def without_untrained(config: Config, borrowed: Collection[str]) -> tuple[Config, list[str]]:
    """Return the configuration without the models that need training subjects, for a cohort that has none.

    Models that apply one of them, and oracles of a registration that is not borrowed, are left out too. Each table
    lists its models that are left out in `left_out`; a table without any other row is left out as a whole.

    Args:
        config: the configuration, after `cof.config.borrowed.borrow`.
        borrowed: names of the artefacts that another run has trained, such as `models/cof`.

    Returns:
        The configuration, and the names of the models that were left out.

    Raises:
        UsageError: the labeller, the registration of the evaluation or a model that report or figures name is not
            borrowed.
    """
    needed = ["labeller", f"registrations/{config.evaluation.registration}"]
    if config.models[config.report.model].learns:
        needed.append(f"models/{config.report.model}")
    if missing := [name for name in needed if name not in borrowed]:
        source = f"{config.trained} lacks" if config.trained else "`trained` names no run that provides"
        raise UsageError(
            f"the cohort has no training subjects, and {source} {', '.join(missing)}: mark subjects as 'train' in the "
            "sheet's column split, or set trained to the results or weights of a run that has them (such as "
            "weights/bench)"
        )
    gone = {name for name, model in config.models.items() if f"models/{name}" not in borrowed and model.learns}
    for name, model in config.models.items():
        registration = None if model.learns else model.motion
        without_motion = registration not in (None, TRUTH) and f"registrations/{registration}" not in borrowed
        if without_motion or gone.intersection(model.applies):
            gone.add(name)
    shown = {"report.model": config.report.model, "figures.model": config.figures.model}
    shown |= {"figures.population_mean": config.figures.population_mean}
    for key, chosen in shown.items():
        if chosen in gone:
            raise UsageError(f"{key}: '{chosen}' is left out: the cohort has no training subject")
    changed = {
        "models": {name: model for name, model in config.models.items() if name not in gone},
        "tables": {name: kept for name, table in config.tables.items() if (kept := _table(table, gone)).models},
        "intervals": config.intervals.model_copy(
            update={"models": tuple(name for name in config.intervals.models if name not in gone)}
        ),
    }
    return config.model_copy(update=changed), sorted(gone)


def _table(table: TableSettings, gone: Collection[str]) -> TableSettings:
    """Return a table without the rows of some models; `left_out` lists them."""
    changed = {
        "models": {name: title for name, title in table.models.items() if name not in gone},
        "left_out": tuple(title for name, title in table.models.items() if name in gone),
        "repeats": {
            name: kept
            for name, others in table.repeats.items()
            if name not in gone and (kept := tuple(other for other in others if other not in gone))
        },
    }
    return table.model_copy(update=changed)
