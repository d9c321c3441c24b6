"""The typed form of `config.yaml`: the only place that knows its keys.

Every stage takes one settings object from here and nothing else of the configuration. A changed key therefore re-runs
only the stages that read it.
"""

import difflib
import json
import logging
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, SerializeAsAny, TypeAdapter, ValidationError

from cof.config.base import REAL, TRUTH, Settings
from cof.config.data import (
    BeatSettings,
    CineSettings,
    CohortSettings,
    EcgSettings,
    GridSettings,
    LabelSettings,
    PhantomSettings,
    QualitySettings,
)
from cof.config.evaluation import EvaluationSettings, IntervalSettings, ReportSettings, TableSettings, TwinSettings
from cof.config.families import settings_of
from cof.config.figures import FigureSettings
from cof.config.metrics import METRICS
from cof.config.models import ModelSettings
from cof.config.motion import RegistrationSettings
from cof.config.overlay import overlaid, resolved, without_removed
from cof.errors import UsageError
from cof.renamed import remarks

log = logging.getLogger(__name__)


class Config(Settings):
    """The complete configuration of a run."""

    results: str = Field("results", description="folder to which all results are written")
    seed: int = Field(0, ge=0, description="seed of every random number; the same seed gives the same bytes")
    trained: str | None = Field(
        None,
        description="results folder of another run. Labeller, registrations and models found there are used as they "
        "are; the others are trained on this cohort",
    )
    subjects: tuple[str, ...] = Field((), description="limit the run to these subjects; models are not retrained")
    phantom: PhantomSettings = PhantomSettings()
    cohort: CohortSettings = CohortSettings()
    ecg: EcgSettings = EcgSettings()
    beats: BeatSettings = BeatSettings()
    cine: CineSettings = CineSettings()
    labels: LabelSettings = LabelSettings()
    quality: QualitySettings = QualitySettings()
    grid: GridSettings = GridSettings()
    registrations: dict[str, RegistrationSettings] = Field({"toppr": RegistrationSettings()})
    models: dict[str, SerializeAsAny[ModelSettings]]
    twins: TwinSettings = TwinSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    intervals: IntervalSettings = IntervalSettings()
    tables: dict[str, TableSettings]
    figures: FigureSettings = FigureSettings()
    report: ReportSettings = ReportSettings()

    @property
    def featured(self) -> tuple[str, ...]:
        """Names of the hearts whose features a table compares: `real` and the models; empty without such a column."""
        models = [model for table in self.tables.values() if table.with_features for model in table.trainings]
        return tuple(dict.fromkeys((REAL, *models))) if models else ()

    @property
    def drawn(self) -> FigureSettings:
        """Settings of the figures, with the names of the models that they draw."""
        means = (name for name, model in self.models.items() if model.family == "mean_motion")
        chosen = {
            "model": self.figures.model or self.report.model,
            "population_mean": self.figures.population_mean or next(means, None),
        }
        return self.figures.model_copy(update=chosen)

    @property
    def exact_motion(self) -> bool:
        """Whether an oracle uses the exact displacement of a synthetic cohort."""
        return any(model.motion == TRUTH for model in self.models.values())


def _known_keys(error: Any, model: type[BaseModel] | None) -> list[str]:
    """Return the keys that the group at the location of a pydantic error accepts."""
    group: Any = Config if model is None else model
    for part in error["loc"][:-1]:
        fields = getattr(group, "model_fields", None)
        if fields is None or part not in fields:
            group = (settings_of(str(part)) if group is dict else None) or group
            continue
        annotation = fields[part].annotation
        text = str(annotation)
        if text.startswith("dict["):
            inner = annotation.__args__[1]
            group = inner if hasattr(inner, "model_fields") else dict
        else:
            group = annotation
    return sorted(getattr(group, "model_fields", {}))


def explain(error: ValidationError, where: str, model: type[BaseModel] | None = None) -> str:
    """Return one line that says what is wrong in a configuration and, for a misspelt key, which key was meant."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known_keys(first, model)
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
        return f"{where}: unknown key '{path}'; {hint}"
    return f"{where}: {path}: {first['msg']} (got {first.get('input')!r})"


def parse(raw: dict[str, Any], where: str = "config.yaml") -> Config:
    """Return the typed configuration of a plain mapping.

    Raises:
        UsageError: a key is unknown, missing or of the wrong type, or a name refers to no entry.
    """
    raw = without_removed(raw)
    variants = {
        group: resolved(raw[group], f"{where}: {group}") for group in ("registrations", "models") if group in raw
    }
    try:
        config = Config.model_validate(raw | variants)
    except ValidationError as error:
        raise UsageError(explain(error, where)) from None
    if TRUTH in config.registrations:
        raise UsageError(f"{where}: registrations.{TRUTH}: this name is reserved for the exact displacement")
    if REAL in config.models:
        raise UsageError(f"{where}: models.{REAL}: this name is reserved for the real hearts")
    for name, model in config.models.items():
        registration = model.motion
        if registration == TRUTH and model.takes_exact_motion:
            if config.cohort.sheet is not None:
                raise UsageError(
                    f"{where}: models.{name}.registration: '{TRUTH}', the exact motion, exists for a synthetic cohort "
                    "only; name a registration"
                )
        elif registration is not None and registration not in config.registrations:
            raise UsageError(f"{where}: models.{name}.registration: no registration is called '{registration}'")
        if len(set(model.applied_members)) < len(model.applied_members):
            raise UsageError(f"{where}: models.{name}.members: a model is named twice")
        for other in model.applies:
            applied, wanted = config.models.get(other), model.applies_family
            if applied is None or wanted not in (None, applied.family):
                key = "model" if other == model.applied_model else "members"
                kind = f" of the family '{wanted}'" if wanted else ""
                raise UsageError(f"{where}: models.{name}.{key}: no model{kind} is called '{other}'")
            if applied.applies:
                raise UsageError(
                    f"{where}: models.{name}: '{other}' itself applies {', '.join(applied.applies)}; name a model that "
                    "applies no other"
                )
    for name in config.intervals.models:
        if name not in config.models:
            raise UsageError(f"{where}: intervals.models: no model is called '{name}'")
    for name, table in config.tables.items():
        for row in (*table.models, *table.repeats, *(other for repeat in table.repeats.values() for other in repeat)):
            if row not in config.models:
                raise UsageError(f"{where}: tables.{name}.models: no model is called '{row}'")
        for metric in table.metrics:
            if metric not in METRICS:
                close = difflib.get_close_matches(metric, METRICS, n=1)
                hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(METRICS)}"
                raise UsageError(f"{where}: tables.{name}.metrics: no metric is called '{metric}'{hint}")
            extractor = METRICS[metric].extractor
            if extractor and getattr(config.evaluation.extractors, extractor, "always there") is None:
                raise UsageError(
                    f"{where}: tables.{name}.metrics: {metric} needs weights; set evaluation.extractors.{extractor}"
                )
    if config.evaluation.registration not in config.registrations:
        raise UsageError(
            f"{where}: evaluation.registration: no registration is called '{config.evaluation.registration}'"
        )
    named = {"report.model": config.report.model, "figures.model": config.figures.model}
    named |= {"figures.population_mean": config.figures.population_mean}
    for key, chosen in named.items():
        if chosen is not None and chosen not in config.models:
            raise UsageError(f"{where}: {key}: no model is called '{chosen}'")
    return config


def load(path: Path, *more: Path) -> Config:
    """Read and validate a configuration file, with the keys of further files merged over it as Snakemake does.

    Raises:
        UsageError: a file does not exist, a file is not a YAML mapping, or the merged configuration is invalid.
    """
    for remark in remarks((path, *more)):
        log.warning("%s", remark)
    raw = _read_mapping(path)
    for file in more:
        raw = overlaid(raw, _read_mapping(file))
    return parse(raw, ", ".join(str(file) for file in (path, *more)))


def _read_mapping(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML or JSON file; an empty file gives an empty mapping."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text; a configuration is YAML or JSON") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}{_place(error)}") from None
    if not isinstance(raw or {}, dict):
        raise UsageError(f"{path}: a configuration is a mapping, lines of `key: value`, not {type(raw).__name__}")
    return raw or {}


def _place(error: yaml.YAMLError) -> str:
    """Return one line with the line and column of a YAML error and what is wrong there."""
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = getattr(error, "problem", None) or str(error)
    tab = "\\t" in problem
    hint = "indent with spaces" if tab else "close brackets and quotes, and put a space after each colon"
    return f"{where}: not valid YAML: {' '.join(problem.split())}; {hint}"


def read_settings(text: str, kind: Any) -> Any:
    """Read the settings of a stage from inline JSON or from a YAML or JSON file.

    Args:
        text: JSON that starts with `{`, or a path.
        kind: a settings class or annotated union such as `ModelSettings`.

    Raises:
        UsageError: the file is missing or the settings are invalid.
    """
    inline = text.lstrip().startswith("{")
    if not inline and not Path(text).is_file():
        raise UsageError(f"--settings: no such file: {text}")
    try:
        raw = json.loads(text) if inline else _read_mapping(Path(text))
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        group = kind if isinstance(kind, type) else None
        raise UsageError(explain(error, "--settings", group)) from None
    except json.JSONDecodeError as error:
        raise UsageError(f"--settings: not valid JSON: {error}") from None


def dump(settings: BaseModel) -> str:
    """Return settings as JSON, for the command line and Snakemake's re-run triggers; table rows keep their order."""
    return json.dumps(settings.model_dump(mode="json"))


def schema() -> dict[str, Any]:
    """Return the JSON schema of `config.yaml`, for editors and for validation by other programs."""
    return Config.model_json_schema()
