"""The benchmarks of `make bench`, against real daemons."""
