"""Who gets whose ECG: exchanges within a group that never give a participant's ECG to the same participant."""

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
    """The participant of a subject named `{participant}-v{visit}`."""
    return subject.rsplit("-v", 1)[0]


def rank(*names: object) -> str:
    """A number that looks random but depends on the names alone, not on the order of anything."""
    return hashlib.sha256("/".join(map(str, names)).encode()).hexdigest()


def exchange(subjects: Sequence[SubjectEcg], seed: str, within: Within = "none") -> dict[str, str]:
    """The donor of each subject's ECG, by name.

    Every stratum is permuted in itself, so that each of its ECGs is used once: its subjects are put in an order that
    the seed decides, and each takes the ECG of the one that lies a step further. The step is the least that gives
    nobody an own ECG. Where there is none, as in a stratum of one participant, a subject takes the ECG of the
    participant whose rate is nearest, of the same sex if there is one.

    Args:
        subjects: the group, of at least two participants.
        seed: another one gives another permutation.
        within: the strata: the whole group, or sex (unknown is a stratum) by decile of the heart rate in the group.

    Raises:
        UsageError: there is only one participant.
    """
    if len({participant(subject.subject) for subject in subjects}) < 2:
        raise UsageError("an exchange of ECGs needs two participants")
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
    """The subject of another participant with the nearest heart rate, of the same sex if there is one."""
    others = [other for other in group if not _same(other.subject, subject.subject)]

    def distance(other: SubjectEcg) -> tuple[bool, float, str]:
        return other.sex != subject.sex, float(np.abs(1 / other.rr_ms - 1 / subject.rr_ms)), other.subject

    return min(others, key=distance).subject


def exchanged(examples: Sequence[Example], ecgs: Sequence[SubjectEcg], donors: Mapping[str, str]) -> Opened[Example]:
    """Examples of which each has another one's ECG; they are opened as they are asked for.

    Args:
        examples: the hearts.
        ecgs: their own ECGs, in the same order.
        donors: whose ECG each gets, by name.
    """
    places = {ecg.subject: place for place, ecg in enumerate(ecgs)}

    def opened(subject: str) -> Example:
        return examples[places[subject]].with_ecg_of(ecgs[places[donors[subject]]])

    return Opened(list(places), opened, kept=0)
