"""Warning beside means and intervals of a handful of subjects."""

# Below it, a percentile bootstrap interval is plainly too narrow.
FEW = 10


def few(subjects: int, intervals: bool = True) -> str | None:
    """The warning beside numbers of fewer than ten subjects; None for more.

    Args:
        subjects: that the numbers are of.
        intervals: whether there are 95 % intervals among them.
    """
    if subjects >= FEW:
        return None
    what = "95 % intervals of so few are too narrow and" if intervals else "means and SDs of so few"
    return (
        f"Only {subjects} subject{'' if subjects == 1 else 's'}, fewer than {FEW}: {what} change with every subject. "
        "Read these numbers as examples, not as estimates."
    )
