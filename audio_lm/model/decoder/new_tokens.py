"""Rows for tokens that the language model's own tables do not have.

They stand beside its own tables, as a part that learns while the language model is frozen.
Ids count on where its tables end: token ``num_base + i`` is row i here.

Beside a loaded language model each output row starts as the mean of that model's output rows. A new token's
logit is then the mean of all old ones and never above the largest of them, whatever was read: no answer has a
new token in it before the tokens were learned. That holds in an exported table too, which has no bias for it.

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
        """Start the rows.

        Args:
            scale: standard deviation of rows that start at random, of both tables.
            initial_VD: input and output rows to start from instead; see ``smooth_rows``.
            output_D: what every output row starts from instead; see ``mean_output_row``.

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
        if output_D is not None:
            second_VD = output_D.to(second_VD.dtype).expand(num_new, width).clone()
        self.input = nn.Parameter(first_VD)
        self.output = nn.Parameter(second_VD)

    def forward(self, ids: Tensor) -> Tensor:
        """Input rows of new tokens, ids counted from 0; whatever lies below 0 gives row 0, or zeros where there is none."""
        if not len(
            self.input
        ):  # zeros that both tables are part of: every parameter has a gradient in every pack
            return (self.input.sum() + self.output.sum()).expand(*ids.shape, self.input.shape[1])
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
