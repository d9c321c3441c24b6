"""A generated heart in the formats of other software: the heart as read, the table of formats, a module for each."""
