"""`python -m warpaint.server` is `warpaintd`."""

from .cli import main

main()
