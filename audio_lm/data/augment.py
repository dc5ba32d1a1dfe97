"""Draw the parameters of SpecAugment in the data workers; the model applies them.

Source: SpecAugment, arXiv:1904.08779, section 2; policy LibriSpeech Basic, table 1.
"""

import numpy as np

from audio_lm.data.config import SpecAugmentConfig


def spec_augment_row(
    policy: SpecAugmentConfig, *, num_frames: int, num_mels: int, rng: np.random.Generator
) -> list[int]:
    """Draw [warp_from, warp_to, band_start, band_width, time_start, time_width] of one clip.

    Equal warp points do not warp and a width of zero does not mask. Clips too short for the full time warp
    are warped as far as their margins allow.
    """
    reach = min(policy.time_warp, (num_frames - 1) // 2)
    warp_from = warp_to = 0
    if reach > 0:
        warp_from = int(rng.integers(reach, num_frames - reach + 1))
        bend = min(reach, warp_from, num_frames - warp_from) - 1
        warp_to = warp_from + (int(rng.integers(-bend, bend + 1)) if bend > 0 else 0)
    band_width = int(rng.integers(0, min(policy.frequency_width, num_mels - 1) + 1))
    band_start = int(rng.integers(0, num_mels - band_width + 1))
    longest = min(policy.time_width, int(num_frames * policy.time_share), num_frames - 1)
    time_width = int(rng.integers(0, longest + 1))
    time_start = int(rng.integers(0, num_frames - time_width + 1))
    return [warp_from, warp_to, band_start, band_width, time_start, time_width]
