"""Subject sheets for the files in a folder: one module for each way to find files, and one for the sheet itself."""
