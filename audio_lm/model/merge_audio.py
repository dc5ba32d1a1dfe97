"""Merge audio embeddings into text embeddings.

Shapes: T positions of text and audio, K audio tokens, D width.
"""

from torch import Tensor


def merge_audio(text_TD: Tensor, audio_KD: Tensor, audio_index: Tensor) -> Tensor:
    """Write the audio tokens to their positions in the sequence.

    Each placeholder of the prompt was already expanded to the number of audio tokens of its clip, and the
    collator computed their positions. An index copy is enough: no boolean mask, which would synchronize with
    the GPU.

    Args:
        audio_index: (K,) positions, in the order of the audio tokens.

    Returns:
        (T, D), a new tensor; gradients flow to both inputs.

    Raises:
        ValueError: the number of positions differs from the number of audio tokens.
    """
    if audio_index.numel() != audio_KD.shape[0]:
        raise ValueError(
            f"{audio_KD.shape[0]} audio tokens for {audio_index.numel()} positions; expected one position per token -- "
            f"num_samples and audio_index of the pack come from different clips"
        )
    return text_TD.index_copy(0, audio_index, audio_KD.to(text_TD.dtype))
