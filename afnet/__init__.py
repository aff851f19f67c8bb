"""AFNet ("Look More but Care Less in Video Recognition", NeurIPS 2022), usable alone with torch."""

from afnet.backbones import BACKBONES, Design
from afnet.contract import EXECUTIONS, Output, Progress, Selection, VideoModel
from afnet.inference import optimize_for_inference
from afnet.network import AFNet, Recipe
from afnet.released import load_released, load_trunk, released_names, save_released

__all__ = [
    "BACKBONES",
    "EXECUTIONS",
    "AFNet",
    "Design",
    "Output",
    "Progress",
    "Recipe",
    "Selection",
    "VideoModel",
    "load_released",
    "load_trunk",
    "optimize_for_inference",
    "released_names",
    "save_released",
]
