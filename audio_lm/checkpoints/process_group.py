"""The ranks that write and read checkpoints together, in a group of their own.

What is written while training goes on must not meet training's own messages, and most of what
is said here is a sentence: so a gloo group beside the others.
"""

from typing import Any, TypeVar

from torch import distributed

from audio_lm.common.env import rank, world_size

Item = TypeVar("Item")


class Group:
    """All ranks of a run; alone where there is one. Opened by all of them at the same place."""

    def __init__(self) -> None:
        self.process_group = distributed.new_group(backend="gloo") if world_size() > 1 else None

    @property
    def rank(self) -> int:
        """This process in the group."""
        return rank()

    @property
    def size(self) -> int:
        """How many there are."""
        return world_size()

    def gathered(self, item: Item) -> list[Item]:
        """What every rank has, in the order of ranks."""
        if self.process_group is None:
            return [item]
        items: list[Any] = [None] * self.size
        distributed.all_gather_object(items, item, group=self.process_group)
        return items
