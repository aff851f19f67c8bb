"""Recipes by name. A recipe is a Python function that returns experiments; its docstring says what to expect."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from bench.errors import UserError, unknown
from bench.experiment import Experiment
from sweeps.recipes.demo import demo
from sweeps.recipes.samplers import samplers

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
        if not isinstance(points, list):
            raise UserError(f"Recipe {self.name} returned {type(points).__name__}; expected a list of experiments.")
        if not points:
            raise UserError(f"Recipe {self.name} gives no experiment; expected at least one.")
        for position, point in enumerate(points):
            if not isinstance(point, Experiment):
                raise UserError(
                    f"Recipe {self.name} returned a list whose item {position + 1} is of type {type(point).__name__}; "
                    "expected experiments only."
                )
        seen: dict[str, int] = {}
        for position, point in enumerate(points):
            first = seen.setdefault(point.experiment_id, position)
            if first != position:
                raise UserError(
                    f"Recipe {self.name} gives the same experiment twice, as points {first + 1} and {position + 1} "
                    f"({point.experiment_id}); expected all to differ."
                )
        return points


RECIPES: dict[str, Recipe] = {recipe.__name__: Recipe(recipe.__name__, recipe) for recipe in (demo, samplers)}


def find_recipe(name: str) -> Recipe:
    """A named recipe, or the function `recipe(tiny)` of a Python file.

    Raises:
        UserError: for an unknown name, a file that does not run, or one without the function.
    """
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name not in RECIPES:
        raise UserError(f"{unknown('recipe', name, RECIPES)} The path of a Python file (.py) is one too.")
    return RECIPES[name]


def _from_file(path: Path) -> Recipe:
    if not path.is_file():
        raise UserError(f"There is no recipe file {path}; expected a Python file with a function recipe(tiny).")
    with _blaming(path):
        module = _executed(path)
    make = getattr(module, "recipe", None)
    if not callable(make):
        raise UserError(f"The recipe file {path} has no function recipe(tiny); expected one that returns experiments.")
    return Recipe(path.stem, _blaming(path)(make))


def _executed(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"afbench_recipe_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses whose annotations are text look their module up by its name.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turn whatever a recipe file raises, also a call of sys.exit, into a UserError that names the file's line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _same(frame.filename, path)]
        if isinstance(error, SyntaxError) and _same(error.filename or "", path):
            lines.append(error.lineno)
        place = f" in line {lines[-1]}" if lines else ""
        if isinstance(error, UserError):
            raise UserError(f"The recipe file {path} failed{place}: {error}") from error
        words = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
        said = f"{type(error).__name__}: {words}" if words else type(error).__name__
        raise UserError(
            f"The recipe file {path} failed{place} with {said}; expected it to give experiments."
        ) from error


def _same(name: str, path: Path) -> bool:
    return name == str(path.absolute())
