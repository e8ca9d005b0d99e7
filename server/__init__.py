"""The painting process: gateway, sessions, scheduling, codecs of the wire."""
