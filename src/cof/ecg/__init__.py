"""12-lead ECGs: reading of several vendors' files as signals in mV, and one representative cardiac cycle of each."""
