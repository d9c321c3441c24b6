"""Features of real and generated images, by networks trained elsewhere, from which Fréchet distances are computed."""
