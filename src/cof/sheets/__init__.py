"""Subject sheets written from files as they lie: a module for each source of names, and one for the sheet."""
