"""Facts about a model family, declared with the settings of its models. All other code reads them here."""

from collections.abc import Set
from typing import Any, ClassVar, Literal, get_args

from cof.config.base import Settings
from cof.config.training import TrainingSettings

# Motion: what a training example can hold beyond anchor and ECG. Sight: what generation can get of the real heart.
Motion = Literal["displacement", "cine", "labels", "ef"]
Sight = Literal["displacement", "ef"]
Split = Literal["train", "test"]
Anchors = Literal["any", "ed"]


class FamilySettings(Settings):
    """Settings of a model of one family. The class attributes say what the family is and what it needs.

    A subclass gives `family` its name, `Literal["toy"] = "toy"`, and names its implementation. The defaults of all
    other facts are those of a network that learns from training subjects and generates from anchor and ECG alone.

    Attributes:
        implementation: module and class, `module:Class`, of its `cof.models.base.Family`; imported when a model is
            trained or loaded.
        learns_on: the split whose subjects are the examples of `fit`; None for a family that gets no examples. "test"
            is for a family that keeps only their ECGs; its models belong to this cohort and are never taken from
            another run.
        learns_from: what training needs of every example beyond anchor and ECG.
        sees: what generation gets of the subject's own real heart (oracles): its registered displacement or its
            ejection fraction. Every other family gets anchor and ECG alone.
        anchors: "ed" for a family whose motion refers to end diastole and cannot be used with another anchor.
        applies_family: the family that the models under the keys `model` and `members` must belong to; None for any.
    """

    implementation: ClassVar[str]
    learns_on: ClassVar[Split | None] = "train"
    learns_from: ClassVar[Set[Motion]] = frozenset()
    sees: ClassVar[Set[Sight]] = frozenset()
    anchors: ClassVar[Anchors] = "any"
    applies_family: ClassVar[str | None] = None

    family: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Check the class attributes of a family.

        Raises:
            TypeError: a fact has an unknown value, or the family needs registered motion and has no key `registration`.
        """
        super().__pydantic_init_subclass__(**kwargs)
        for fact, values, known in (
            ("learns_on", {cls.learns_on}, {*get_args(Split), None}),
            ("learns_from", set(cls.learns_from), set(get_args(Motion))),
            ("sees", set(cls.sees), set(get_args(Sight))),
            ("anchors", {cls.anchors}, set(get_args(Anchors))),
        ):
            if unknown := values - known:
                allowed = ", ".join(sorted(map(str, known)))
                raise TypeError(f"{cls.__name__}.{fact}: {', '.join(map(str, unknown))} is not one of {allowed}")
        if "displacement" in {*cls.learns_from, *cls.sees} and "registration" not in cls.model_fields:
            raise TypeError(f"{cls.__name__}: needs a key `registration`, which names the source of the displacement")

    @property
    def needs(self) -> Set[Motion]:
        """What training of this model needs of every example; its settings may add to `learns_from`."""
        return self.learns_from

    @property
    def learns(self) -> bool:
        """Whether the model learns from training subjects."""
        return self.learns_on == "train"

    @property
    def of_this_cohort(self) -> bool:
        """Whether the model keeps data of held-out subjects, so that no other run can provide it."""
        return self.learns_on == "test"

    @property
    def training(self) -> TrainingSettings | None:
        """Settings of the training of its network; None for a model without a network of its own."""
        return self if isinstance(self, TrainingSettings) else None

    @property
    def motion(self) -> str | None:
        """The registration whose motion training or generation reads: the key `registration`, or None."""
        return getattr(self, "registration", None)

    @property
    def takes_exact_motion(self) -> bool:
        """Whether `registration` may be `truth`, the exact motion, which exists for held-out subjects only."""
        return "displacement" in self.sees and "displacement" not in self.needs

    @property
    def applied_model(self) -> str | None:
        """The trained model that this one applies: the key `model`, or None."""
        return getattr(self, "model", None)

    @property
    def applied_members(self) -> tuple[str, ...]:
        """The trained models that this one combines: the key `members`, or none."""
        return getattr(self, "members", ())

    @property
    def applies(self) -> tuple[str, ...]:
        """All trained models that this one keeps copies of."""
        return (*filter(None, (self.applied_model,)), *self.applied_members)

    @property
    def anchored_at(self) -> float | None:
        """Phase of the anchor at generation: the key `anchor_phase`; None leaves the choice to the caller."""
        return getattr(self, "anchor_phase", None)

    @property
    def takes_absent_ecg(self) -> bool:
        """Whether the model also generates without an ECG and may be trained on subjects without one."""
        return False

    @property
    def learns_from_pairs(self) -> bool:
        """Whether training also uses pairs of ED and ES, in addition to whole cycles."""
        return False

    @property
    def kept_hearts(self) -> int:
        """Largest number of training hearts that a trained model keeps; 0 if its size does not depend on them."""
        return 0
