"""Register one volume of a heart to another frame of the same scan: three-dimensional NIfTI files on the same voxels.

python examples/register_two_volumes.py FIXED MOVING weights/bench registered
"""

import sys
from pathlib import Path

from cof.config.motion import RefinementSettings
from cof.motion.register import register_volumes

fixed, moving, weights, out = map(Path, sys.argv[1:])
record = register_volumes(
    fixed=fixed,
    moving=moving,  # at end diastole, as in the network's training
    weights=weights / "registrations/toppr",
    labeller=weights / "labeller",  # finds the heart
    refinement=RefinementSettings(steps=10),  # refine the network's result on these two images
    out=out,
)
found = record["measures"]
print(f"correlation {found['ncc_before']:.3f} before, {found['ncc_after']:.3f} after")
print(f"{found['mean_displacement_mm']:.1f} mm on average, {100 * found['folded_share']:.2g} % folded: {out}")
