"""COF and the baselines that share its network: velocity field, flow matching, integration, regression, diffusion."""
