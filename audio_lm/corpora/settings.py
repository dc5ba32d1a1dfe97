"""Parse and check the settings of a corpus in a recipe."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.ranges import Range

NUMBER_RANGE = Range(0, 2**32 - 1)  # of counts, bounds and seeds; NumPy takes seeds up to here
Settings = TypeVar("Settings")


def parse_settings(kind: type[Settings], corpus: str, given: Mapping[str, Any]) -> Settings:
    """Settings of a corpus with defaults.

    Raises:
        RecipeError: an unknown key, a value of the wrong type, or a number out of range.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            see = f"the fields of {kind.__name__}"
            raise RecipeError(unknown(f"setting of corpus {corpus!r}:", key, known, see=see))
    hints = get_type_hints(kind)
    for key, value in given.items():
        _check(f"corpora.{corpus}.{key}", value, hints[key])
    return kind(**given)


def _check(where: str, value: Any, hint: Any) -> None:
    if hint == Mapping[str, int]:
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where} is {value!r} -- expected a table of numbers, such as {{digits: 100}}")
        for key, number in value.items():
            _check(f"{where}.{key}", number, int)
        return
    if hint is float and type(value) is int:
        hint = int
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise RecipeError(
            f"{where} is {value!r} -- expected {getattr(hint, '__name__', hint)}; correct it in the recipe"
        )
    expected = NUMBER_RANGE.expectation(value) if isinstance(value, int | float) else None
    if expected is not None:
        raise RecipeError(
            f"{where} is {value} -- expected {expected}; it is a number of clips, a seed or a bound"
        )
