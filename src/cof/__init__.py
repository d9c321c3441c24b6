"""Chain of Flow: a beating, patient-specific 4D heart from a 12-lead ECG and one anatomical anchor volume."""

__version__ = "0.1.0"
