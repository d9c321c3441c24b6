"""Evaluation of generated hearts: metrics as pure functions on arrays, and the stage that writes their rows."""
