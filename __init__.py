"""Warpaint paints live video: keyframes are painted, everything else is warped along the optical flow.

The four folders are the subpackages: `proto` (the wire), `engines` (the models), `server` (the daemon)
and `client` (everything that talks to it). docs/architecture.md says who may import whom.
"""

__version__ = "0.1.0"
