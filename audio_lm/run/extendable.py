"""Rules of a run that extends another one: which settings may differ, and which order of examples continues another."""

import re
from collections.abc import Mapping
from typing import Any

from audio_lm.config.load import ComposedRecipe
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.data.mixture.segments import SegmentHistory

# Settings of a stage that goes on in another run: those that act on the steps to come and not on the order of examples.
MAY_BE_EXTENDED = re.compile(
    r"steps|schedule\..+|parts\.[^.]+\.(lr|layer_decay|from_step)|optimizer\.(?!kind).+"
)


def extends_another_run(composed: ComposedRecipe, progress: Mapping[str, Any]) -> bool:
    """True if the plain values of a checkpoint are of the run that the recipe extends, and not of its own."""
    extended = composed.recipe.extends
    return extended is not None and progress["settings"].get("extends") != extended


def may_be_extended(key: str, stage: str) -> bool:
    """True if a setting may differ in a run that extends another one, whose state of a stage it continues from.

    >>> [may_be_extended(f"stages.chat.{key}", "chat") for key in ("steps", "parts.encoder.lr", "optimizer.kind", "prompt")]
    [True, True, False, False]
    """
    own = f"stages.{stage}."
    if key.startswith("stages.") and not key.startswith(own):
        return True  # later stages are trained anew, and earlier ones are compared before
    return key == "extends" or MAY_BE_EXTENDED.fullmatch(key.removeprefix(own)) is not None


def is_continued(history: SegmentHistory, longer: SegmentHistory, cursor: Cursor) -> bool:
    """True if a plan for more steps draws what an earlier one has drawn, up to the window of a cursor."""
    end = (cursor.window + bool(cursor.place)) * history.window
    return (history.window, history.names, history.digests) == (
        longer.window,
        longer.names,
        longer.digests,
    ) and [s for s in history.segments if s.position < end] == [
        s for s in longer.segments if s.position < end
    ]
