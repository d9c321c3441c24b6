"""The exact truth of the synthetic cohort: its artefacts, samples of it, and the motion that they give."""
