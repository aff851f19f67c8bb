"""Where `afbench run` begins: the experiment that a recipe has for a method, a matter of minutes on two cores."""

from __future__ import annotations

from bench.errors import UserError
from bench.experiment import Experiment
from bench.methods import find_method
from sweeps.recipes.demo import SETTINGS
from sweeps.recipes.demo import starting_point as of_the_demo
from sweeps.recipes.samplers import samplers


def starting_point(method: str) -> Experiment:
    """The demo's experiment for a method, else the first one of the samplers' recipe.

    Raises:
        UserError: for an unknown method, or one that no recipe has.
    """
    find_method(method)
    if method in SETTINGS:
        return of_the_demo(method)
    for point in samplers(False):
        if point.model.method == method:
            return point
    raise UserError(f"No recipe has an experiment with {method} to start from; write one (docs/add-a-method.md).")
