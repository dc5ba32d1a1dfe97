"""Direct preference optimization: prefer the chosen to the rejected answer of a pair, relative to a reference.

The reference is the model at the start of the stage; its log-probabilities come with the pack, so no second model is in
memory. Dropout is off, as in the reference. The loss of a step is the mean over the pairs of all ranks.

Shapes: P learned positions, B documents, Q pairs.
Source: arXiv:2305.18290, equation 7; Qwen2-Audio, arXiv:2407.10759, equation 2.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import NOT_TRAINABLE, PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.training.losses import LossSums, sums_by_task
from audio_lm.training.objective_config import DpoConfig
from audio_lm.training.preference_losses import AnswerScores, preference_losses
from audio_lm.training.step import StepLoss, WithoutDropout


def document_of_positions(pack: PackedBatch) -> Tensor:
    """(P,) index of the document of each learned position."""
    return torch.bucketize(pack.learned_index, pack.cu_seq_lens[1:], right=True)


def document_sums(values_P: Tensor, pack: PackedBatch) -> Tensor:
    """(B,) sums of values over the learned positions of each document of the conversations or pairs, in float64."""
    sums_B = torch.zeros(len(pack.cu_seq_lens) - 1, dtype=torch.float64, device=values_P.device)
    return sums_B.index_add(0, document_of_positions(pack), values_P.double())


@torch.no_grad()
def document_log_probabilities(model: AudioLM, pack: PackedBatch) -> Tensor:
    """(2 * pairs,) log-probability of the answer of each document; the model is in evaluation mode."""
    return -document_sums(model.loss(pack).losses, pack)[: 2 * len(pack)]


class DpoModule(WithoutDropout):
    """Preference loss of pairs.

    Args:
        config: the loss.
    """

    def __init__(self, model: AudioLM, *, config: DpoConfig, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.config = config

    def num_counted(self, pack: PackedBatch) -> int:
        """Number of pairs.

        Raises:
            DataError: one of them has no log-probabilities of the reference.
        """
        if pack.num_units == NOT_TRAINABLE:
            raise DataError(
                f"one of the pairs {', '.join(map(repr, pack.cut_ids[:3]))} ... has no log-probabilities of the reference -- "
                f"expected all pairs of the stage -- start it again with resume=auto, which computes those that are missing"
            )
        return pack.num_units

    def compute_loss(self, pack: PackedBatch, weight: float = 1.0) -> StepLoss:
        """Compute the summed loss of the pairs of one pack; see ``TrainStep``."""
        pairs = _PairLoss(self.config, pack, weight)
        total = self.model.loss(pack, weights_of=pairs).total
        return StepLoss(total, pairs.sums, pairs.measures)


class _PairLoss:
    """Loss of the pairs of a pack as a weighted cross-entropy, and what is logged about them."""

    def __init__(self, config: DpoConfig, pack: PackedBatch, weight: float) -> None:
        self.config = config
        self.pack = pack
        self.weight = weight
        self.sums: LossSums = {}
        self.measures: Mapping[str, LossSums] = {}

    def __call__(self, losses_P: Tensor, /) -> Tensor:
        """Weights (P,) that give the cross-entropy the gradient of the loss."""
        pack = self.pack
        num_documents = 2 * len(pack)
        num_tokens_B = document_sums(torch.ones_like(losses_P), pack)
        logp_B = -document_sums(losses_P, pack)
        reference_B = torch.zeros_like(logp_B)
        if pack.reference is not None:
            reference_B[:num_documents] = pack.reference.to(logp_B)
        pair_Q = _learned_pairs(num_tokens_B[0:num_documents:2] > 0, pack.num_units)
        with torch.enable_grad():
            logp_B.requires_grad_()
            chosen, rejected = (
                AnswerScores(
                    *(each[first:num_documents:2][pair_Q] for each in (logp_B, reference_B, num_tokens_B))
                )
                for first in (0, 1)
            )
            losses_Q = preference_losses(self.config, chosen, rejected)
            (gradient_B,) = torch.autograd.grad(losses_Q.sum() * self.weight, logp_B)
        self._measure(losses_Q.detach(), chosen, rejected, pair_Q)
        # A cross-entropy is the negative log-probability.
        return -gradient_B[document_of_positions(pack)].to(losses_P.dtype)

    def _measure(
        self, losses_Q: Tensor, chosen: AnswerScores, rejected: AnswerScores, pair_Q: Tensor
    ) -> None:
        pack, beta = self.pack, self.config.beta
        task_B = torch.zeros(len(pack.cu_seq_lens) - 1, dtype=torch.int64, device=losses_Q.device)
        task_B[document_of_positions(pack)] = pack.task_index
        task_Q = task_B[0 : 2 * len(pack) : 2][pair_Q]
        margin_Q = beta * (chosen.log_ratio - rejected.log_ratio).detach()
        values = {
            "accuracy": (margin_Q > 0).double(),
            "margin": margin_Q,
            "logp_chosen": chosen.logp.detach(),
            "logp_rejected": rejected.logp.detach(),
        }
        self.sums = sums_by_task(losses_Q, task_Q, pack.tasks)
        self.measures = {name: sums_by_task(each, task_Q, pack.tasks) for name, each in values.items()}


def _learned_pairs(is_learned_Q: Tensor, num_learned: int) -> Tensor:
    """Indices of the pairs in the loss, in their order.

    Args:
        num_learned: their number; it is read from the device only if it is ``NOT_TRAINABLE``.
    """
    if num_learned == NOT_TRAINABLE:
        return is_learned_Q.nonzero()[:, 0]
    return is_learned_Q.argsort(descending=True, stable=True)[:num_learned]
