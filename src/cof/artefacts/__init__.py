"""Results on disk: tables, folders that appear whole, exclusions, and the provenance of each."""
