"""Exchange of ECGs within a group of subjects, in which no participant gets an ECG of the same participant."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from cof.errors import UsageError
from cof.models.base import Example, SubjectEcg
from cof.models.data import Opened

DECILES = 10

Within = Literal["none", "sex_and_rate"]


def participant(subject: str) -> str:
    """Return the participant of a subject named `{participant}-v{visit}`."""
    return subject.rsplit("-v", 1)[0]


def rank(*names: object) -> str:
    """Return a pseudo-random hexadecimal number that depends only on the names, not on any order of subjects."""
    return hashlib.sha256("/".join(map(str, names)).encode()).hexdigest()


def exchange(subjects: Sequence[SubjectEcg], seed: str, within: Within = "none") -> dict[str, str]:
    """Choose the donor of every subject's ECG.

    ECGs are permuted within each stratum, so every ECG is used once. The seed puts the subjects of a stratum in an
    order; each gets the ECG of the subject a fixed number of steps further on. The number of steps is the smallest one
    by which nobody gets an ECG of the same participant. If there is no such number, as in a stratum of one participant,
    a subject gets the ECG of another participant in the whole group: of the same sex if possible, and with the nearest
    heart rate.

    Args:
        subjects: the group; at least two participants.
        seed: seed of the permutation.
        within: the strata. "none" is the whole group; "sex_and_rate" is sex (unknown is a stratum of its own) by decile
            of the heart rate in the group.

    Returns:
        Name of the donor by name of the subject.

    Raises:
        UsageError: there are fewer than two participants.
    """
    if len({participant(subject.subject) for subject in subjects}) < 2:
        raise UsageError(
            f"an exchange of ECGs needs at least two participants; these {len(subjects)} subjects are fewer: "
            "use a larger cohort"
        )
    donors: dict[str, str] = {}
    for stratum in _strata(subjects, within):
        names = sorted((subject.subject for subject in stratum), key=lambda name: rank(seed, name))
        shifts = (names[step:] + names[:step] for step in range(1, len(names)))
        others = next((other for other in shifts if not any(map(_same, names, other))), None)
        if others is not None:
            donors |= dict(zip(names, others))
        else:
            donors |= {subject.subject: _nearest(subject, subjects) for subject in stratum}
    return donors


def _strata(subjects: Sequence[SubjectEcg], within: Within) -> list[list[SubjectEcg]]:
    if within == "none":
        return [list(subjects)]
    by_rate = sorted(subjects, key=lambda subject: (subject.rr_ms, subject.subject))
    strata: dict[tuple[str, int], list[SubjectEcg]] = defaultdict(list)
    for place, subject in enumerate(by_rate):
        strata[subject.sex, DECILES * place // len(by_rate)].append(subject)
    return list(strata.values())


def _same(one: str, other: str) -> bool:
    return participant(one) == participant(other)


def _nearest(subject: SubjectEcg, group: Sequence[SubjectEcg]) -> str:
    """Find the subject of another participant with the nearest heart rate, of the same sex if there is one."""
    others = [other for other in group if not _same(other.subject, subject.subject)]

    def distance(other: SubjectEcg) -> tuple[bool, float, str]:
        return other.sex != subject.sex, float(np.abs(1 / other.rr_ms - 1 / subject.rr_ms)), other.subject

    return min(others, key=distance).subject


def exchanged(examples: Sequence[Example], ecgs: Sequence[SubjectEcg], donors: Mapping[str, str]) -> Opened[Example]:
    """Return examples with exchanged ECGs; each is opened when it is accessed.

    Args:
        examples: the hearts.
        ecgs: their own ECGs, in the same order.
        donors: name of the ECG's donor by name of the subject.
    """
    places = {ecg.subject: place for place, ecg in enumerate(ecgs)}

    def opened(subject: str) -> Example:
        return examples[places[subject]].with_ecg_of(ecgs[places[donors[subject]]])

    return Opened(list(places), opened, kept=0)
