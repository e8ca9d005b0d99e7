"""Optical flow with a confidence for each pixel."""
