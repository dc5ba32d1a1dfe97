import sys
import threading

import pytest

from audio_lm.chat.microphone import Microphone
from audio_lm.common.errors import UserError
from tests.chat.test_terminal import fake_library


def test_the_end_of_a_recording_is_set_from_outside(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_library())
    finished = threading.Event()
    finished.set()
    samples, rate = Microphone().record(finished)
    assert (len(samples), rate) == (8000, 16_000)
    assert len(Microphone().record(finished, max_seconds=0.2).samples) == 3200


def test_what_is_missing_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_library(has_device=False))
    with pytest.raises(UserError, match="no microphone"):
        Microphone()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match=r"audio-lm\[microphone\]"):
        Microphone()


def test_a_system_without_portaudio_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(UserError, match=r"PortAudio library not found\); install it"):
        Microphone()


def test_an_empty_recording_is_refused(monkeypatch):
    library = fake_library()
    monkeypatch.setattr(library.InputStream, "__enter__", lambda self: None)
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    finished = threading.Event()
    finished.set()
    with pytest.raises(UserError, match="nothing was recorded"):
        Microphone().record(finished)
