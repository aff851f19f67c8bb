"""Recipes by name. A recipe is a Python function that returns experiments; its docstring says what to expect."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError, unknown
from bench.experiment import Experiment
from sweeps.recipes.demo import demo

Points = list[Experiment]


@dataclass(frozen=True)
class Recipe:
    """A named list of experiments.

    Attributes:
        make: `make(tiny)` gives the points; tiny ones run in seconds and mean nothing.
    """

    name: str
    make: Callable[[bool], Points]

    @property
    def summary(self) -> str:
        """First line of the recipe's docstring."""
        return (self.make.__doc__ or "").strip().partition("\n")[0]

    def points(self, tiny: bool) -> Points:
        """The experiments, in order.

        Raises:
            UserError: when there are none, or two are the same.
        """
        points = self.make(tiny)
        if not isinstance(points, list) or not all(isinstance(point, Experiment) for point in points):
            raise UserError(f"Recipe {self.name} returned {type(points).__name__}; expected a list of experiments.")
        if not points:
            raise UserError(f"Recipe {self.name} gives no experiment; expected at least one.")
        seen: dict[str, int] = {}
        for position, point in enumerate(points):
            first = seen.setdefault(point.experiment_id, position)
            if first != position:
                raise UserError(
                    f"Recipe {self.name} gives the same experiment twice, as points {first + 1} and {position + 1} "
                    f"({point.experiment_id}); expected all to differ."
                )
        return points


RECIPES: dict[str, Recipe] = {recipe.__name__: Recipe(recipe.__name__, recipe) for recipe in (demo,)}


def find_recipe(name: str) -> Recipe:
    """A named recipe, or the function `recipe(tiny)` of a Python file.

    Raises:
        UserError: for an unknown name, a file that does not run, or one without the function.
    """
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def _from_file(path: Path) -> Recipe:
    if not path.is_file():
        raise UserError(f"There is no recipe file {path}; expected a Python file with a function recipe(tiny).")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"The recipe file {path} has a syntax error in line {error.lineno}: {error.msg}.") from error
    except UserError:
        raise
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        raise UserError(
            f"The recipe file {path} failed in line {line} with {type(error).__name__}: {error}."
        ) from error
    make = getattr(module, "recipe", None)
    if not callable(make):
        raise UserError(f"The recipe file {path} has no function recipe(tiny); expected one that returns experiments.")
    return Recipe(path.stem, make)
