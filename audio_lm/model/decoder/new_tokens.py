"""Embedding and output rows of tokens added to the language model's vocabulary.

They are separate tables, a part that can be trained while the language model is frozen. Their ids follow the base
vocabulary: token ``num_base + i`` is row i here.

Beside a loaded language model each output row starts as the mean of that model's output rows. The logit of a new
token is then the mean of all base logits and never above the largest of them, for every input: greedy decoding
generates no new token before training. An exported model, which has one table and no bias, behaves the same.

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
        self,
        num_new: int,
        width: int,
        *,
        scale: float = 0.02,
        initial_VD: Tensor | None = None,
        output_D: Tensor | None = None,
    ) -> None:
        """Initialize the rows.

        Args:
            scale: standard deviation of random rows, for both tables.
            initial_VD: initial input and output rows to use instead; see ``smooth_rows``.
            output_D: initial value of every output row to use instead; see ``mean_output_row``.

        Raises:
            ValueError: ``initial_VD`` has another shape.
        """
        super().__init__()
        if initial_VD is not None and initial_VD.shape != (num_new, width):
            raise ValueError(
                f"initial rows have shape {tuple(initial_VD.shape)}; expected {(num_new, width)}"
            )
        input_VD = torch.randn(num_new, width) * scale if initial_VD is None else initial_VD.clone()
        output_VD = torch.randn(num_new, width) * scale if initial_VD is None else initial_VD.clone()
        if output_D is not None:
            output_VD = output_D.to(output_VD.dtype).expand(num_new, width).clone()
        self.input = nn.Parameter(input_VD)
        self.output = nn.Parameter(output_VD)

    def forward(self, ids: Tensor) -> Tensor:
        """Input rows of new tokens, with ids counted from 0; negative ids give row 0, or zeros if there are no rows."""
        if not len(self.input):
            # Zeros computed from both empty tables, so that every parameter has a gradient, as DDP expects.
            return (self.input.sum() + self.output.sum()).expand(*ids.shape, self.input.shape[1])
        return F.embedding(ids.clamp(min=0), self.input)

    def logits(self, hidden_PD: Tensor) -> Tensor:
        """(P, V) logits of the new tokens."""
        return F.linear(hidden_PD, self.output)


def smooth_rows(num_rows: int, width: int, *, scale: float = 0.02) -> Tensor:
    """Random rows whose neighbors are similar, for ordered tokens such as time stamps.

    Each column is a cosine with a random frequency and phase; the shortest period is eight rows. What training
    learns about one time stamp also applies to its neighbors, and every row remains distinguishable.

    Returns:
        (num_rows, width) of standard deviation ``scale``.

    Source: random Fourier features, Rahimi and Recht 2007, with log-uniform frequencies.
    """
    fastest, slowest = math.tau / 8, math.tau / max(2 * num_rows, 16)
    frequencies_D = torch.exp(torch.empty(width).uniform_(math.log(slowest), math.log(fastest)))
    phases_D = torch.rand(width) * math.tau
    return scale * math.sqrt(2) * torch.cos(torch.arange(num_rows)[:, None] * frequencies_D + phases_D)
