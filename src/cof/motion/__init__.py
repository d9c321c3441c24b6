"""Motion: TOPPR registration, integration, warping, and the displacement path over the cycle."""
