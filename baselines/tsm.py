"""TSM: TSN with 1/8 of the channels shifted forward and 1/8 back in time before each block's first convolution.

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019 (the residual shift).
"""

from __future__ import annotations

from baselines.tsn import TSN


class TSM(TSN):
    """TSN with the temporal shift; same multiply-adds, and it sees motion."""

    shift = True
