import inspect

import pytest
import torch

from audio_lm.model.base import Encoder, Projector
from audio_lm.model.encoders.hf_encoder import SpeechEncoder
from audio_lm.model.encoders.whisper import AudioEncoder
from audio_lm.model.projector import GroupProjector, LinearProjector


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        (Encoder, AudioEncoder),
        (Encoder, SpeechEncoder),
        (Projector, LinearProjector),
        (Projector, GroupProjector),
    ],
)
def test_every_kind_takes_the_arguments_of_its_interface(base, kind):
    assert issubclass(kind, base)
    assert inspect.signature(kind.forward) == inspect.signature(base.forward)


def test_an_interface_computes_nothing():
    with pytest.raises(NotImplementedError):
        Encoder()(torch.zeros(480), (480,))
