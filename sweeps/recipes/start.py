"""Where `afbench run` begins: the experiment that a recipe has for a method, a matter of minutes on two cores."""

from __future__ import annotations

from bench.data.catalogue import DIGITS
from bench.experiment import Experiment
from bench.methods import find_method
from sweeps.recipes.bases import base
from sweeps.recipes.samplers import samplers


def starting_point(method: str, dataset: str = DIGITS, backbone: str = "") -> Experiment:
    """The base of TSN, TSM and AFNet, of any other method its first point in the recipe samplers.

    Raises:
        UserError: for an unknown method, or what `base` cannot make.
    """
    find_method(method)
    if method not in ("tsn", "tsm", "afnet"):
        for point in samplers(False, dataset, backbone):
            if point.model.method == method:
                return point
    return base(method, dataset, backbone)
