"""Recipes by name. A recipe is a Python function that returns experiments; its docstring says what to expect."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from bench.errors import UserError, unknown
from bench.experiment import Experiment, override
from sweeps.recipes.ablations import ablations
from sweeps.recipes.demo import demo
from sweeps.recipes.frames import frames
from sweeps.recipes.samplers import samplers
from sweeps.recipes.selection_ratio import selection_ratio
from sweeps.recipes.spatial import spatial
from sweeps.recipes.throughput import throughput

Points = list[Experiment]


@dataclass(frozen=True)
class Recipe:
    """A named list of experiments.

    Attributes:
        make: `make(tiny)` gives the points; tiny ones run in seconds and mean nothing. Where it takes `dataset` or
            `backbone`, it makes them for others than its own.
    """

    name: str
    make: Callable[..., Points]

    @property
    def summary(self) -> str:
        """First line of the recipe's docstring: the question it answers."""
        return (self.make.__doc__ or "").strip().partition("\n")[0]

    def points(
        self,
        tiny: bool,
        *,
        dataset: str = "",
        backbone: str = "",
        seeds: Sequence[int] = (),
        assignments: Mapping[str, str] | None = None,
        only: Collection[str] = (),
    ) -> Points:
        """The experiments, in order.

        Args:
            dataset, backbone: other than the recipe's own.
            seeds: every point once with each of these seeds of its training, all points of a seed together.
            assignments: fields of every point, by dotted name, as `bench.experiment.override` takes them.
            only: methods; points of others are left out.

        Raises:
            UserError: when there are none, or two are the same; for what the recipe or its points do not take.
        """
        given = {name: value for name, value in (("dataset", dataset), ("backbone", backbone)) if value}
        points = self._checked(self.make(tiny, **self._taken(given)))
        points = self._seeded(self._picked(points, only), seeds)
        return self._assigned(points, dict(assignments)) if assignments else points

    def _taken(self, given: dict[str, str]) -> dict[str, str]:
        """UserError for an argument that the function has not."""
        parameters = inspect.signature(self.make).parameters if given else {}
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        for name, value in given.items():
            if name not in parameters and not anything:
                raise UserError(
                    f"--{name} is {value}, but the recipe {self.name} has its own; expected none, or a recipe whose "
                    f"function takes `{name}`."
                )
        return given

    def _checked(self, points: object) -> Points:
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
        same = _first_pair(points)
        if same:
            raise UserError(
                f"Recipe {self.name} gives the same experiment twice, as points {same[0] + 1} and {same[1] + 1} "
                f"({points[same[0]].experiment_id}); expected all to differ."
            )
        return points

    def _picked(self, points: Points, only: Collection[str]) -> Points:
        methods = dict.fromkeys(point.model.method for point in points)
        for name in only:
            if name not in methods:
                raise unknown("method", name, methods, f"recipe {self.name}")
        return [point for point in points if point.model.method in only] if only else points

    def _seeded(self, points: Points, seeds: Sequence[int]) -> Points:
        if not seeds:
            return points
        if len(set(seeds)) < len(seeds):
            raise UserError(f"--seeds are {' '.join(map(str, seeds))}; expected each once.")
        seeded = [replace(point, training=replace(point.training, seed=seed)) for seed in seeds for point in points]
        same = _first_pair(seeded)
        if same:
            raise UserError(
                f"--seeds makes points {same[0] + 1} and {same[1] + 1} of recipe {self.name} the same: they differ in "
                "training.seed alone. Expected a recipe that does not vary it."
            )
        return seeded

    def _assigned(self, points: Points, assignments: dict[str, str]) -> Points:
        changed = []
        for position, point in enumerate(points):
            try:
                changed.append(override(point, assignments))
            except UserError as error:
                raise UserError(
                    f"Point {position + 1} of recipe {self.name}, {point.model.method}, cannot be changed so (--only "
                    f"leaves methods out): {error}"
                ) from error
        same = _first_pair(changed)
        if same:
            one, other = same
            names = [name for name in assignments if _value(points[one], name) != _value(points[other], name)]
            raise UserError(
                f"--set {' and '.join(names or assignments)} makes points {one + 1} and {other + 1} of recipe "
                f"{self.name} the same experiment; expected a field in which its points do not differ."
            )
        return changed


def _first_pair(points: Points) -> tuple[int, int] | None:
    """Positions of two points that are the same."""
    seen: dict[str, int] = {}
    for position, point in enumerate(points):
        first = seen.setdefault(point.experiment_id, position)
        if first != position:
            return first, position
    return None


def _value(point: Experiment, path: str) -> object:
    """Of a field, by its dotted name; None where the point has no such field."""
    value: object = point
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


_MADE = (demo, frames, selection_ratio, spatial, samplers, ablations, throughput)
RECIPES: dict[str, Recipe] = {name: Recipe(name, make) for make in _MADE for name in [make.__name__.replace("_", "-")]}


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
