"""AFNet ("Look More but Care Less in Video Recognition", NeurIPS 2022), usable alone with torch."""

from afnet.contract import EXECUTIONS, Output, Progress, Selection, VideoModel
from afnet.network import PRESETS, AFNet

__all__ = ["EXECUTIONS", "PRESETS", "AFNet", "Output", "Progress", "Selection", "VideoModel"]
