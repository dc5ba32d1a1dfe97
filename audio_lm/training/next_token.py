"""Next-token prediction: the objective of pre-training and of supervised fine-tuning."""

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.training.losses import sums_by_task
from audio_lm.training.step import StepLoss, TrainStep


class NextTokenModule(TrainStep):
    """Cross-entropy of the answers of conversations, per learned token."""

    def compute_loss(self, pack: PackedBatch, weight: float = 1.0) -> StepLoss:
        """Compute the summed cross-entropy of one pack; see ``TrainStep``."""
        loss = self.model.loss(pack, weight=weight)
        return StepLoss(loss.total, sums_by_task(loss.losses, pack.task_index, pack.tasks))
