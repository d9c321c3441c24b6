"""The warning beside means and intervals of few subjects."""

# With fewer subjects, an interval of skewed values is too narrow (docs/science/method.md).
FEW = 10


def few(subjects: int, intervals: bool = True) -> str | None:
    """Return the warning beside numbers of fewer than ten subjects; None for ten or more.

    Args:
        subjects: number of subjects.
        intervals: whether there are 95 % intervals among the numbers.
    """
    if subjects >= FEW:
        return None
    what = "95 % intervals may be too narrow and" if intervals else "means and SDs"
    return (
        f"Only {subjects} subject{'' if subjects == 1 else 's'}, fewer than {FEW}: {what} change with every subject. "
        "Read these numbers as examples, not as estimates."
    )
