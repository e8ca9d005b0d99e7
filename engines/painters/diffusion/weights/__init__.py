"""Weights on disk: what a file or folder is, told from its header, and the models made of it."""
