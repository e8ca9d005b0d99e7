"""`python -m warpaint.client` is `warpaint`."""

from .cli import main

main()
