"""Quality of what a subject brings: measures with known units, and the limits beyond which they count against it."""
