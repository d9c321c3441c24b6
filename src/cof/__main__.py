"""Entry point of `python -m cof`."""

from cof.cli import main

main()
