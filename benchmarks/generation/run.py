"""Time to generate a heart, from ECG and anchor to native frames, compared with the duration of its cycle.

Run with `--help`; README.md explains the comparison.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cof.cine.grid import make_grid
from cof.cine.reader import read_cine_source
from cof.config.baselines import DenoiserSettings, DiffusionSettings
from cof.config.data import BeatSettings, GridSettings, PhantomSettings
from cof.config.flow import CofSettings, OdeSettings, VelocitySettings
from cof.ecg.cycle import representative_cycle
from cof.ecg.reader import read_ecg
from cof.models.base import Subject
from cof.models.flow.cof import CofModel
from cof.models.flow.diffusion import Denoiser, DiffusionModel
from cof.models.flow.velocity import VelocityField
from cof.phantom.stage import Member, make_subject
from cof.twins.generation import native_frames

GRID = GridSettings(shape=(12, 96, 96), spacing_mm=(10.0, 1.8, 1.8), frames=50)
FRAMES = 50
SMALL, LARGE = (16, 32, 64), (32, 64, 128)
ROWS = {
    "16-32-64, 32 modes, Simpson": ({"channels": SMALL}, {}),
    "16-32-64, 32 modes, 12 harmonics": ({"channels": SMALL}, {"method": "fourier"}),
    "16-32-64, phase in every block, 12 harmonics": ({"channels": SMALL, "modes": 0}, {"method": "fourier"}),
    "16-32-64, phase in every block, Simpson": ({"channels": SMALL, "modes": 0}, {}),
    "16-32-64, phase in every block, torchdiffeq rk4": ({"channels": SMALL, "modes": 0}, {"method": "rk4"}),
    "16-32-64, phase in every block, torchdiffeq dopri5": ({"channels": SMALL, "modes": 0}, {"method": "dopri5"}),
    "32-64-128, 32 modes, Simpson": ({"channels": LARGE}, {}),
    "32-64-128, phase in every block, 12 harmonics": ({"channels": LARGE, "modes": 0}, {"method": "fourier"}),
}

DIFFUSION = "COF-w/ Diffusion, 16-32-64, DDIM of 10 steps"
PROFILED = "16-32-64, 32 modes, 12 harmonics"


def make_person(folder: Path) -> tuple[Subject, np.ndarray]:
    """Make a synthetic subject at paper scale once, and read it; return it with its native anchor [Z, Y, X]."""
    cine, ecg = folder / "raw/cine/sub-0001_20209_2_0.zip", folder / "raw/ecg/sub-0001_20205_2_0.xml"
    if not (cine.is_file() and ecg.is_file()):
        settings = PhantomSettings(train=1, test=1, frames=FRAMES, slices=12, matrix=210)
        make_subject(Member("sub-0001", "train", False), folder, settings, 0)
    native = read_cine_source(cine, 0.1)
    y, x = np.ogrid[: native.frames.shape[2], : native.frames.shape[3]]
    radius = np.hypot(y - native.frames.shape[2] / 2, x - native.frames.shape[3] / 2)
    disc = np.where(radius < 12, 1, np.where(radius < 18, 2, 0)).astype(np.uint8)
    labels = np.broadcast_to(disc, native.frames.shape[1:])
    frames, placement = make_grid(native, labels, GRID)
    beat = representative_cycle(read_ecg(ecg), BeatSettings())
    anchor_labels = np.zeros(GRID.shape, np.uint8)
    anchor_labels[:, 40:56, 40:56] = 1
    person = Subject("sub-0001-v2", beat.beat, beat.rr_ms, frames[0], anchor_labels, placement)
    return person, np.array(native.frames[0])


def make_model(field: dict, ode: dict) -> CofModel:
    """Return a velocity field with random weights and motion of some millimetres; it costs as much as a trained one."""
    settings = CofSettings(field=VelocitySettings(**field), ode=OdeSettings(**ode))
    torch.manual_seed(0)
    network = VelocityField(settings.field)
    last = network.modes.maps if settings.field.modes else network.head.last
    torch.nn.init.normal_(last.weight, std=0.02)
    network.sigma.fill_(20.0)
    return CofModel(network, settings)


def make_diffusion() -> DiffusionModel:
    """Return the same network as a denoiser; its time depends only on the number of evaluations."""
    settings = DiffusionSettings(field=DenoiserSettings(channels=SMALL), steps=10)
    torch.manual_seed(0)
    network = Denoiser(settings.field)
    torch.nn.init.normal_(network.head.last.weight, std=0.02)
    network.sigma.fill_(2.0)
    return DiffusionModel(network, settings)


def seconds(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the median wall and CPU time of `work`, after one run that does not count."""
    work()
    walls, cpus = [], []
    for _ in range(rounds):
        begun, used = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - begun)
        cpus.append(time.process_time() - used)
    return statistics.median(walls), statistics.median(cpus)


def profile_of(model: CofModel, person: Subject) -> str:
    """Return a Markdown table of the time of `PROFILED` by operation."""
    with torch.profiler.profile() as profile:
        model.generate(person, FRAMES, 0)
    costs = profile.key_averages()
    whole = sum(cost.self_cpu_time_total for cost in costs)
    first = sorted(costs, key=lambda cost: -cost.self_cpu_time_total)[:8]
    rows = [f"| {cost.key} | {cost.count} | {100 * cost.self_cpu_time_total / whole:.0f} % |" for cost in first]
    return "\n".join([f"Motion of {PROFILED}:\n\n| operation | calls | share |\n|---|---:|---:|", *rows])


def main() -> None:
    """Make the subject if it does not exist, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the synthetic subject")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    person, anchor = make_person(arguments.work)
    cycle_s = person.rr_ms / 1000
    shape = " x ".join(map(str, anchor.shape))
    print(f"{FRAMES} frames of {shape}; a cycle of {cycle_s:.3f} s; {os.cpu_count()} cores; {arguments.rounds} rounds")
    print("\n| velocity field and solver | motion, s | native frames, s | both over the cycle | CPU s over it |")
    print("|---|---:|---:|---:|---:|")
    models = {name: make_model(field, ode) for name, (field, ode) in ROWS.items()} | {DIFFUSION: make_diffusion()}
    for name, model in models.items():
        made = model.generate(person, FRAMES, 0)
        motion, motion_cpu = seconds(lambda m=model: m.generate(person, FRAMES, 0), arguments.rounds)
        frames, frames_cpu = seconds(
            lambda g=made: native_frames(g, anchor, person.placement, FRAMES), arguments.rounds
        )
        ratio, cpu_ratio = (motion + frames) / cycle_s, (motion_cpu + frames_cpu) / cycle_s
        print(f"| {name} | {motion:.3f} | {frames:.3f} | {ratio:.2f} | {cpu_ratio:.2f} |", flush=True)
    print(f"\n{profile_of(models[PROFILED], person)}")


if __name__ == "__main__":
    main()
