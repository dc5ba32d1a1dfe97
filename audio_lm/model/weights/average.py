"""Average of several trained models: each weight is the mean of theirs, weighted by shares.

Source: model soups (arXiv:2203.05482) and mixtures of experts' weights (arXiv:2602.04937).
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from audio_lm.model.weights.parts import check_parts, fill_parts, read_parts, weights_by_part


def load_average(model: nn.Module, folders: Sequence[Path], shares: Sequence[float]) -> None:
    """Load the average of the weights that ``save_model`` wrote into several folders.

    Sums are in 64 bits. The folders are read one by one, so that memory holds one sum beside the model. The matrices of a
    low-rank update are averaged one by one, too: the result is near the average of the updates, not equal to it.

    Args:
        shares: of each folder, with the sum 1; weights that are not floating-point numbers are those of the first folder.

    Raises:
        CheckpointError: a file is missing or unreadable, or its weights do not fit the model.
    """
    wanted = weights_by_part(model)
    total: dict[str, dict[str, Tensor]] = {part: {} for part in wanted}
    for share, folder in zip(shares, folders, strict=True):
        weights_of_part = read_parts(folder, wanted)
        check_parts(wanted, weights_of_part, source=str(folder))
        for part, weights in weights_of_part.items():
            for name, weight in weights.items():
                if weight.is_floating_point():
                    total[part][name] = total[part].get(name, 0.0) + share * weight.double()
                else:
                    total[part].setdefault(name, weight)
    fill_parts(wanted, total, source=" and ".join(map(str, folders)))
