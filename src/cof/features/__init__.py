"""Features of real and generated images, by networks that were trained elsewhere; Fréchet distances compare them."""
