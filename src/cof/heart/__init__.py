"""Basics of the heart: its structures, their label codes, and ventricular function."""
