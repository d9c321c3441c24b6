"""COF and the systems that share its field: velocity, flow matching, integration, regression and diffusion."""
