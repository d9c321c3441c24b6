"""12-lead ECG: files of several vendors to signals in millivolts, and one representative cardiac cycle."""
