"""What a model family says of itself, beside the settings of its models: the one place that everything else asks."""

from collections.abc import Set
from typing import Any, ClassVar, Literal, get_args

from cof.config.base import Settings
from cof.config.training import TrainingSettings

# What a training example can carry beyond anchor and ECG, and what generation can be told of the subject's real heart.
Motion = Literal["displacement", "cine", "labels", "ef"]
Sight = Literal["displacement", "ef"]
Split = Literal["train", "test"]
Anchors = Literal["any", "ed"]


class FamilySettings(Settings):
    """Settings of a model of one family, whose class attributes say what the family is and needs.

    A subclass gives `family` its name, `Literal["toy"] = "toy"`, and names its implementation; every other fact has the
    default of a network that learns from training subjects and generates from anchor and ECG alone.

    Attributes:
        implementation: module and class, `module:Class`, of its `cof.models.base.Family`; imported when a model is
            trained or loaded.
        learns_on: the split whose subjects are the examples of `fit`; None for a family that is handed none. "test" is
            for one that keeps nothing but their ECGs: its models are of this cohort, and never taken from another run.
        learns_from: what training needs of every example beyond anchor and ECG.
        sees: what generation is openly told of the subject's own real heart (oracles): its registered displacement,
            its ejection fraction. Every other family gets anchor and ECG alone.
        anchors: "ed" for a family whose motion is about end diastole and is not turned towards another anchor.
        applies_family: the family that the models of the keys `model` and `members` must be of; None for any.
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
        """Refuse a family whose facts are none.

        Raises:
            TypeError: a fact has no such value, or the family needs registered motion and has no key `registration`.
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
                raise TypeError(f"{cls.__name__}.{fact}: {', '.join(map(str, unknown))} is none of {allowed}")
        if "displacement" in {*cls.learns_from, *cls.sees} and "registration" not in cls.model_fields:
            raise TypeError(f"{cls.__name__}: needs a key `registration`, that of the displacement")

    @property
    def needs(self) -> Set[Motion]:
        """What training of this model needs of every example; more than `learns_from` where its settings ask for it."""
        return self.learns_from

    @property
    def learns(self) -> bool:
        """The model is made from training subjects."""
        return self.learns_on == "train"

    @property
    def of_this_cohort(self) -> bool:
        """The model keeps something of held-out subjects, so that no other run can have made it."""
        return self.learns_on == "test"

    @property
    def training(self) -> TrainingSettings | None:
        """How its network is trained; None for a model without a network of its own."""
        return self if isinstance(self, TrainingSettings) else None

    @property
    def motion(self) -> str | None:
        """The registration whose motion training or generation reads: the key `registration`, where there is one."""
        return getattr(self, "registration", None)

    @property
    def takes_exact_motion(self) -> bool:
        """The key `registration` may say `truth`, the exact motion, which held-out subjects alone have."""
        return "displacement" in self.sees and "displacement" not in self.needs

    @property
    def applied_model(self) -> str | None:
        """The trained model that this one applies: the key `model`, where there is one."""
        return getattr(self, "model", None)

    @property
    def applied_members(self) -> tuple[str, ...]:
        """The trained models that this one is made of: the key `members`, where there is one."""
        return getattr(self, "members", ())

    @property
    def applies(self) -> tuple[str, ...]:
        """All models that this one keeps copies of, as they are trained."""
        return (*filter(None, (self.applied_model,)), *self.applied_members)

    @property
    def anchored_at(self) -> float | None:
        """Phase of the frame that is the anchor at generation, the key `anchor_phase`; None leaves it to the caller."""
        return getattr(self, "anchor_phase", None)

    @property
    def kept_hearts(self) -> int:
        """Training subjects whose hearts a trained model keeps, at most; 0 where its size does not depend on them."""
        return 0
