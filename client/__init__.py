"""Everything that talks to the daemon: the Python client, files and streams, the `warpaint` command."""
