"""Audio embeddings into the text.

Shapes: T positions of text and audio, K audio tokens, D width.
"""

from torch import Tensor


def merge_audio(text_TD: Tensor, audio_KD: Tensor, audio_index: Tensor) -> Tensor:
    """Put the audio where the prompt left room for it.

    The prompt has already widened each placeholder to its clip's tokens, and the collator knows where they
    are: a copy, without a mask and without a wait for the GPU.

    Args:
        audio_index: (K,) places, in the order of the audio tokens.

    Returns:
        (T, D), new; gradients reach both inputs.

    Raises:
        ValueError: there is not one place for each audio token.
    """
    if audio_index.numel() != audio_KD.shape[0]:
        raise ValueError(
            f"{audio_KD.shape[0]} audio tokens for {audio_index.numel()} places; expected one place each -- the pack's "
            f"num_samples and audio_index come from different clips"
        )
    return text_TD.index_copy(0, audio_index, audio_KD.to(text_TD.dtype))
