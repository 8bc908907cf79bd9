"""Which passes the U-Net runs at a step, and how their predictions become one.

at `guidance`, of which a run has one: APG, CFGZero; without them plain classifier-free guidance
at `passes`, which add or leave out:   CFGInterval, PAG
at `prediction`, in this order:        PAG, SAG, CFGRescale, DynamicThresholding
"""

from mezzotint import Extension

from .apg import APG
from .cfg_zero import CFGZero
from .dynamic_thresholding import DynamicThresholding
from .interval import CFGInterval
from .pag import PAG
from .rescale import CFGRescale
from .sag import SAG

EXTENSIONS: tuple[type[Extension], ...] = (
    APG,
    CFGInterval,
    CFGRescale,
    CFGZero,
    DynamicThresholding,
    PAG,
    SAG,
)
