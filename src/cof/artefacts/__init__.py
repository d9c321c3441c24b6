"""Results on disk: tables and folders that appear only when they are complete, exclusions, and provenance."""
