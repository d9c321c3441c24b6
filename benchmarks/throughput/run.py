"""Subjects per hour through every stage, by the calibration of `cof estimate`, and the costliest functions.

Run with `--help`; README.md explains the measurements.
"""

import argparse
import cProfile
import pstats
from pathlib import Path

from cof import config
from cof.estimate.calibration import Calibration, calibrate

REPOSITORY = Path(__file__).parents[2]


def report(calibration: Calibration, cores: int) -> str:
    """Return the table as Markdown."""
    units = {stage: (unit, "subject") for stage, unit in calibration.subject.items()}
    units |= {f"fields/{name}": (unit, "subject") for name, unit in calibration.fields.items()}
    units |= {f"twins/{name}": (unit, "heart") for name, unit in calibration.twins.items()}
    units |= {f"metrics/{name}": (unit, "heart") for name, unit in calibration.metrics.items()}
    lines = [f"| stage | CPU seconds | an hour on {cores} cores |", "|---|---:|---:|"]
    for stage, (unit, what) in units.items():
        hourly = f"{3600 * cores / unit.seconds:,.0f} {what}s" if unit.seconds else ""
        lines.append(f"| {stage} | {unit.seconds:.3f} | {hourly} |")
    return "\n".join(lines)


def main() -> None:
    """Calibrate at the scale of the given configuration and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    paper = [REPOSITORY / "config.yaml", REPOSITORY / "workflow/config/paper.yaml"]
    parser.add_argument("configurations", type=Path, nargs="*", default=paper)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--profile", type=int, default=0, help="print so many of the costliest functions, too")
    arguments = parser.parse_args()
    settings = config.load(*arguments.configurations)
    profile = cProfile.Profile()
    if arguments.profile:
        profile.enable()
    calibration = calibrate(settings)
    profile.disable()
    print(report(calibration, arguments.cores))
    if arguments.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(arguments.profile)


if __name__ == "__main__":
    main()
