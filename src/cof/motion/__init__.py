"""Motion: registration by TOPPR, integration, warping, and the displacement path over the cycle."""
