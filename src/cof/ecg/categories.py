"""Diagnostic categories, which may overlap, from the device's statements."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_PACING = r"pacemaker|\bpaced\b"
# In order of precedence: the first that matches is the primary category.
PATTERNS = {
    "excluded": rf"poor data quality|{_PACING}|lead reversal",
    # ST elevation by early repolarisation is not an injury.
    "ischaemia": (
        r"infarct|isch(?:a)?emi|\binjury|\bacute mi\b|\bst depression|"
        r"\bst elevation(?!.*early repolari[sz]ation)"
    ),
    "conduction": (
        r"bundle branch block|fascicular block|intraventricular (?:conduction )?(?:delay|block)|"
        r"(?:1st|first|2nd|second) degree (?:av|a-v|sa|atrioventricular) block|\bav block|complete heart block|\bwolff|"
        r"\bwpw\b|pre-?excitation|bifascicular|\bshort pr\b|qrs widening|\bi?[lr]bbb\b|\bl[ap]fb\b"
    ),
    "hypertrophy": r"hypertrophy|voltage criteria|\blvh\b|\brvh\b|atrial enlargement",
    "rhythm": (
        r"atrial fibrillation|flutter|tachycardia|brady|ectopic|premature|bigemin|sinus arrhythmia|"
        r"junctional(?! st\b)|\bpause|supraventricular|idioventricular"
    ),
    "repolarisation": (
        r"\b(?:t wave|st) abnormality|non-?specific (?:st|t)\b|t wave inversion|early repolari[sz]ation|\bqtc?\b"
    ),
    "other": r"axis deviation|\b(?:left|right)ward axis|low voltage|r wave progression",
}
NORMAL, UNCLASSIFIED = "normal", "unclassified"
ORDER = (*PATTERNS, NORMAL, UNCLASSIFIED)

_PACED = re.compile(_PACING)
_FINDINGS = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
_NORMAL = re.compile(r"(?<!otherwise )\bnormal ecg\b|\bnormal sinus rhythm\b")
# What follows such a word is hedged; a variant hedges the whole statement.
_HEDGE = re.compile(r"cannot rule out|\bpossibl[ey]\b|\bconsider\b")
_VARIANT = re.compile(r"may be normal variant|probably normal|\bborderline\b")
# Absent findings, and in comparisons with an earlier ECG findings that have disappeared.
_NEGATED = re.compile(
    r"\b(?:no|not|without|absence of|negative for|has replaced)\b[^,]*|"
    r"[^,]*\b(?:no longer|ruled out)\b[^,]*|\bqt has shortened\b"
)
_SENTENCE = re.compile(r";|\.(?=\s|$)")


@dataclass(frozen=True)
class Categories:
    """Diagnostic categories of one ECG, in the order of `ORDER`.

    Attributes:
        names: categories of definite findings; `normal` or `unclassified` where there is none.
        soft: categories of hedged findings ("consider", "may be normal variant"), which do not count as definite.
        primary: the first of `names`.
    """

    names: tuple[str, ...]
    soft: tuple[str, ...]

    @property
    def primary(self) -> str:
        """The category with the highest precedence."""
        return self.names[0]


def categorise(statements: Iterable[str]) -> Categories:
    """Sort a device's statements into categories.

    An ECG without a definite finding is `normal` if a statement says so or names normal sinus rhythm, and
    `unclassified` otherwise. Negated findings ("no acute infarct"), and findings that a comparison reports as gone, are
    ignored. A hedge reaches to the end of its sentence, a negation to the next comma.
    """
    definite: set[str] = set()
    hedged: set[str] = set()
    normal = False
    for firm, guess in _sentences(statements):
        definite |= {name for name, pattern in _FINDINGS.items() if pattern.search(firm)}
        hedged |= {name for name, pattern in _FINDINGS.items() if pattern.search(guess)}
        normal |= bool(_NORMAL.search(firm))
    names = tuple(name for name in PATTERNS if name in definite)
    soft = tuple(name for name in PATTERNS if name in hedged and name not in definite)
    return Categories(names or ((NORMAL,) if normal else (UNCLASSIFIED,)), soft)


def states_pacing(statements: Iterable[str]) -> bool:
    """Tell whether a device's statements say without a hedge that the heart is paced."""
    return any(_PACED.search(firm) for firm, _ in _sentences(statements))


def _sentences(statements: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the definite and the hedged part of each sentence."""
    for sentence in (part for statement in statements for part in _SENTENCE.split(statement.lower())):
        yield _split(" ".join(sentence.replace("t-wave", "t wave").split()))


def _split(statement: str) -> tuple[str, str]:
    """Return the definite and the hedged part of a statement, without what it negates."""
    hedge = _HEDGE.search(statement)
    if hedge and hedge.group() == "cannot rule out":
        statement, start = statement[: hedge.start()] + statement[hedge.end() :], hedge.start()
    else:
        start = hedge.start() if hedge else len(statement)
    if _VARIANT.search(statement):
        start = 0
    return _NEGATED.sub(" ", statement[:start]), _NEGATED.sub(" ", statement[start:])
