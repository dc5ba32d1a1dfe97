"""Rows for tokens the language model was not born with.

They stand beside its own tables, as a part that learns while the language model is frozen.
Ids count on where its tables end: token ``num_base + i`` is row i here.

Shapes: V new tokens, D width, P positions.
Source: the tags and time stamps of Qwen-Audio, arXiv:2311.07919, section 3.2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NewTokens(nn.Module):
    """Input and output rows of the new tokens."""

    def __init__(
        self, num_new: int, width: int, *, scale: float = 0.02, initial_VD: Tensor | None = None
    ) -> None:
        """Start the rows.

        Args:
            scale: standard deviation of rows that start at random, of both tables.
            initial_VD: input and output rows to start from instead; see ``smooth_rows``.

        Raises:
            ValueError: ``initial_VD`` has another shape.
        """
        super().__init__()
        if initial_VD is not None and initial_VD.shape != (num_new, width):
            raise ValueError(
                f"initial rows have shape {tuple(initial_VD.shape)}; expected {(num_new, width)}"
            )
        first_VD = torch.randn(num_new, width) * scale if initial_VD is None else initial_VD.clone()
        second_VD = torch.randn(num_new, width) * scale if initial_VD is None else initial_VD.clone()
        self.input = nn.Parameter(first_VD)
        self.output = nn.Parameter(second_VD)

    def forward(self, ids: Tensor) -> Tensor:
        """Input rows of new tokens, ids counted from 0; whatever lies below 0 gives row 0."""
        return F.embedding(ids.clamp(min=0), self.input)

    def logits(self, hidden_PD: Tensor) -> Tensor:
        """(P, V) how likely each new token comes next."""
        return F.linear(hidden_PD, self.output)


def smooth_rows(num_rows: int, width: int, *, scale: float = 0.02) -> Tensor:
    """Rows in which neighbours are alike, for tokens that stand on a line, such as time stamps.

    Random mixtures of slow waves, the fastest of which turns every eight rows: what is learnt about one stamp
    reaches those beside it, and each is still told from all others.

    Returns:
        (num_rows, width) of standard deviation ``scale``.

    Source: random Fourier features, Rahimi and Recht 2007, with log-uniform frequencies.
    """
    fastest, slowest = math.tau / 8, math.tau / max(2 * num_rows, 16)
    frequencies_D = torch.exp(torch.empty(width).uniform_(math.log(slowest), math.log(fastest)))
    phases_D = torch.rand(width) * math.tau
    return scale * math.sqrt(2) * torch.cos(torch.arange(num_rows)[:, None] * frequencies_D + phases_D)
