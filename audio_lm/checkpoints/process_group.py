"""Process group of the ranks that write and read checkpoints together.

It is separate, as saves run beside the collectives of training, and uses gloo, as most messages are Python objects.
"""

from typing import Any, TypeVar

from torch import distributed

from audio_lm.common.runtime import rank, world_size

Item = TypeVar("Item")


class Group:
    """All ranks of a run; all of them create it at the same place. A single rank needs no process group."""

    def __init__(self) -> None:
        self.process_group = distributed.new_group(backend="gloo") if world_size() > 1 else None

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return rank()

    @property
    def size(self) -> int:
        """World size."""
        return world_size()

    def all_gather_object(self, item: Item) -> list[Item]:
        """Objects of all ranks, in the order of ranks."""
        if self.process_group is None:
            return [item]
        items: list[Any] = [None] * self.size
        distributed.all_gather_object(items, item, group=self.process_group)
        return items
