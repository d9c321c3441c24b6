"""The sections of the page: one module per section, with its context and its figures."""
