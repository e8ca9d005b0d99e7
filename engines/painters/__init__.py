"""Painters: they turn a raw picture into a painted one."""
