"""Lightning callbacks and loggers that a recipe names by dotted path.

They are code of others: ``config.checks.untrusted_code`` has refused the recipe unless the command line allows it.
"""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any, TypeVar

from lightning import Callback
from lightning.pytorch.loggers import Logger

from audio_lm.common.errors import RecipeError
from audio_lm.config.checks import plugins_of
from audio_lm.config.schema import Recipe
from audio_lm.training.config import PluginConfig

Plugin = TypeVar("Plugin")


def check_plugins(recipe: Recipe) -> None:
    """Import every class that a recipe names and compare its arguments, before anything is prepared.

    Raises:
        RecipeError: names the key, and what is wrong with the class or its arguments.
    """
    for key, plugin in plugins_of(recipe):
        kind = Logger if key == "logger" else Callback
        _bind(_class_of(plugin, kind, key), plugin, key)


def build_callbacks(recipe: Recipe) -> list[Callback]:
    """Fresh callbacks of the recipe, for one stage."""
    return [
        _class_of(plugin, Callback, key)(**plugin.init_args)
        for key, plugin in plugins_of(recipe)
        if key != "logger"
    ]


def build_loggers(recipe: Recipe) -> list[Logger]:
    """The recipe's logger beside MLflow, for one stage; none where it names none."""
    plugin = recipe.logger
    if plugin is None:
        return []
    kind = _class_of(plugin, Logger, "logger")  # type: ignore[type-abstract]  # a subclass is returned
    return [kind(**plugin.init_args)]


def _class_of(plugin: PluginConfig, base: type[Plugin], key: str) -> type[Plugin]:
    module_name, _, name = plugin.class_path.rpartition(".")
    expected = f"expected the dotted path of a subclass of {base.__module__}.{base.__qualname__}"
    if not module_name:
        raise RecipeError(f"{key}.class_path: {plugin.class_path!r} has no module; {expected}")
    here = str(Path.cwd())
    if here not in sys.path:  # a script's own folder is there; a console script's is not
        sys.path.append(here)
    try:
        found: Any = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            f"{key}.class_path: {plugin.class_path!r} cannot be imported ({error}); {expected}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise RecipeError(f"{key}.class_path: {plugin.class_path!r} is another kind of object; {expected}")
    return found


def _bind(kind: type[object], plugin: PluginConfig, key: str) -> None:
    try:
        inspect.signature(kind).bind(**plugin.init_args)
    except TypeError as error:
        raise RecipeError(
            f"{key}.init_args do not fit {plugin.class_path} ({error}); expected {inspect.signature(kind)}"
        ) from error
