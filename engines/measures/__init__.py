"""How good a painted film is, judged against the raw film that it was painted from.

Judge takes films frame by frame and gives a Verdict on each; gates.py says what each figure may be. The plain functions
measure whole films in memory.
"""

from .detail import detail_ratio, mean_detail
from .figures import Figures
from .films import psnr
from .gates import GATES, Gate
from .judge import Judge
from .motion import BORDER_PX, Motion, RawFlow, flows_of
from .steadiness import excess_steadiness, mean_warped_error, warped_error
from .summary import DISTANCES
from .verdict import Cost, Curves, Verdict

__all__ = [
    "BORDER_PX",
    "DISTANCES",
    "GATES",
    "Cost",
    "Curves",
    "Figures",
    "Gate",
    "Judge",
    "Motion",
    "RawFlow",
    "Verdict",
    "detail_ratio",
    "excess_steadiness",
    "flows_of",
    "mean_detail",
    "mean_warped_error",
    "psnr",
    "warped_error",
]
