"""The heart in the words of the field: its structures, their codes, and ventricular function."""
