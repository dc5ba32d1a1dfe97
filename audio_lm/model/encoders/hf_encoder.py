"""Speech encoders of ``transformers`` with frame outputs: wav2vec 2.0, HuBERT, WavLM, UniSpeech, w2v-BERT.

The library's model is not modified. Clips of similar length are encoded as a padded batch with a mask, and the
frames of the padding are removed from the output. If padding would change the result of a clip, as with a group
norm over time, clips are encoded one at a time.

Shapes: N clips of a batch, S samples, F frames of a filter bank, K tokens, E width.
Source: wav2vec 2.0, arXiv:2006.11477; WavLM, arXiv:2110.13900; w2v-BERT, arXiv:2108.06209, with the
features of ``SeamlessM4TFeatureExtractor`` (Kaldi's filter bank, two frames side by side).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedModel,
)
from transformers.audio_utils import mel_filter_bank, window_function

from audio_lm.common.errors import CheckpointError
from audio_lm.common.transfer import to_device
from audio_lm.model.base import Encoder, Layout
from audio_lm.model.config import EncoderConfig
from audio_lm.model.encoders.hf_settings import (
    ARCHITECTURES,
    FRAME,
    HOP,
    WAVES,
    speech_encoder_error,
    speech_settings,
    speech_token_count,
)

MAX_LENGTH_RATIO = 1.25  # longest clip of a batch over its shortest; our choice
NUM_BANDS = 80
EPSILON = 1e-7


class SpeechEncoder(Encoder):
    """Wrap a speech model of ``transformers`` as an ``Encoder``."""

    def __init__(self, model: PreTrainedModel, *, is_normalized: bool) -> None:
        """Wrap a model.

        Args:
            is_normalized: normalize each clip to zero mean and unit variance, as the model's feature extractor does.
        """
        super().__init__()
        if "masked_spec_embed" in dict(model.named_parameters()):
            del model.masked_spec_embed  # embedding of the model's own masking, which is disabled
        self.model = model
        self.is_normalized = is_normalized
        self.input_kind = ARCHITECTURES[model.config.model_type]
        self.width = int(model.config.hidden_size)
        self.token_count = speech_token_count(model.config)
        self.is_batched = getattr(model.config, "feat_extract_norm", "layer") == "layer"

    def forward(
        self,
        waves_S: Tensor,
        num_samples: tuple[int, ...],
        augment_N6: Tensor | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """(K, E) frames of 20 ms; there is no layout of clips.

        Raises:
            ValueError: ``augment_N6`` is given; SpecAugment needs a log-mel spectrogram.
        """
        if augment_N6 is not None:
            raise ValueError(
                "augment is given, but SpecAugment applies to log-mel spectrograms and speech encoders of transformers "
                "read waveforms; pass None"
            )
        waves = [self._prepared(wave) for wave in waves_S.split(num_samples)]
        frames_of_clip: dict[int, Tensor] = {}
        # The library's convolutional stem sets requires_grad on its input in training mode, so even a frozen encoder
        # would save all activations of its convolutions.
        is_trained = any(parameter.requires_grad for parameter in self.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and is_trained):
            for batch in self._batches([len(wave) for wave in waves]):
                frames_of_clip |= zip(batch, self._frames([waves[clip] for clip in batch]), strict=True)
        return torch.cat([frames_of_clip[clip] for clip in range(len(waves))])

    def _prepared(self, wave_S: Tensor) -> Tensor:
        if self.is_normalized and self.input_kind == WAVES:
            wave_S = (wave_S - wave_S.mean()) / (wave_S.var(correction=0) + EPSILON).sqrt()
        return F.pad(wave_S, (0, max(0, self.token_count.min_samples - len(wave_S))))

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield the indices of clips that are encoded together."""
        batch: list[int] = []
        for clip in sorted(range(len(lengths)), key=lambda clip: lengths[clip]):
            if batch and not (self.is_batched and lengths[clip] <= MAX_LENGTH_RATIO * lengths[batch[0]]):
                yield batch
                batch = []
            batch.append(clip)
        yield batch

    def _frames(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Frames of each clip of a batch, without those of the padding."""
        counts = [self.token_count.tokens_in(len(wave)) for wave in waves]
        if self.input_kind == WAVES:
            inputs, lengths = _padded(waves), [len(wave) for wave in waves]
        else:
            inputs, lengths = _padded([filter_bank(wave) for wave in waves]), counts
        mask = None
        if len(waves) > 1:
            ends = to_device(np.array(lengths), inputs.device)[:, None]
            mask = (torch.arange(inputs.shape[1], device=inputs.device) < ends).long()
        states = self.model(inputs.to(self.model.dtype), attention_mask=mask).last_hidden_state
        return [state[:count] for state, count in zip(states, counts, strict=True)]


def filter_bank(wave_S: Tensor) -> Tensor:
    """(F // 2, 160) log energies of Kaldi's filter bank, normalized in each band, two frames concatenated."""
    with torch.autocast(wave_S.device.type, enabled=False):
        window, filters = _constants(wave_S.device)
        frames = wave_S.float().unfold(0, FRAME, HOP) * 2**15
        frames = frames - frames.mean(1, keepdim=True)
        emphasized = torch.cat([0.03 * frames[:, :1], frames[:, 1:] - 0.97 * frames[:, :-1]], dim=1)
        power = torch.fft.rfft(emphasized * window, n=512).abs().square()
        bands = (power @ filters).clamp(min=1.192092955078125e-07).log()
        bands = (bands - bands.mean(0)) / (bands.var(0, correction=1) + EPSILON).sqrt()
        return bands[: len(bands) // 2 * 2].reshape(-1, 2 * NUM_BANDS)


def new_speech_encoder(config: EncoderConfig) -> SpeechEncoder:
    """Load published weights in 32 bits, or build an architecture with the library's random initialization.

    Raises:
        CheckpointError: there is no such model, or weights are missing.
        RecipeError: the architecture is not in ``ARCHITECTURES``, or a setting is invalid.
    """
    settings = speech_settings(config)
    if config.load is None:
        return SpeechEncoder(AutoModel.from_config(settings, dtype=torch.float32), is_normalized=True)
    try:
        extractor = AutoFeatureExtractor.from_pretrained(config.load, trust_remote_code=False)
        model, loading_info = AutoModel.from_pretrained(
            config.load,
            config=settings,
            dtype=torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise speech_encoder_error(config.load, error) from error
    if missing := sorted(loading_info["missing_keys"]):
        raise CheckpointError(
            f"encoder {config.load!r} lacks {len(missing)} weights, first {missing[:5]}; give a folder with all weights "
            f"of the model that its config.json describes"
        )
    return SpeechEncoder(model, is_normalized=bool(getattr(extractor, "do_normalize", True)))


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    window = window_function(FRAME, "povey", periodic=False)
    filters = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=NUM_BANDS,
        min_frequency=20,
        max_frequency=8000,
        sampling_rate=16_000,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return tuple(torch.from_numpy(array).float().to(device) for array in (window, filters))  # type: ignore[return-value]
