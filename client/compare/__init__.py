"""`warpaint compare`: painted films, of any program, beside the raw film and each other."""
