"""The page of one generated heart: one HTML file that opens from disk and loads nothing."""
