"""What must be said of intervals and means of a handful of subjects."""

# Below it, a percentile bootstrap interval is plainly too narrow.
FEW = 10


def few(subjects: int) -> str | None:
    """The warning beside numbers of fewer than ten subjects; None for more."""
    if subjects >= FEW:
        return None
    return (
        f"Only {subjects} subject{'' if subjects == 1 else 's'}, fewer than {FEW}: 95 % intervals of so few are too "
        "narrow and change with every subject. Read these numbers as examples, not as estimates."
    )
