import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_lm.chat.conversation import ChatOptions
from audio_lm.chat.grounding import Grounding, find_words
from audio_lm.common.errors import UserError
from audio_lm.common.word_timestamps import Unit
from audio_lm.web.limits import Limits
from audio_lm.web.store import SessionStore


class TalkingChat:
    """Chat that repeats its question word by word, with the number of clips that it has."""

    def __init__(self, seconds=0.0):
        self.options = ChatOptions()
        self.seconds = seconds
        self.clips, self.questions, self.num_answers = [], [], 0
        self.is_stopped = threading.Event()

    def add_audio(self, audio):
        self.clips.append(Path(audio).read_bytes())

    def send(self, text):
        self.questions.append(text)
        if text == "too long":
            raise UserError("the conversation would be too long -- start a new one")
        return self.words()

    def regenerate(self):
        return self.words()

    def words(self):
        self.is_stopped.clear()
        self.num_answers += 1
        words = f"answer {self.num_answers} to {self.questions[-1]!r} about {len(self.clips)} clips <|0.00|>she<|0.30|>"
        for word in words.split(" "):
            if self.is_stopped.is_set():
                return
            time.sleep(self.seconds)
            yield f"{word} "

    def stop(self):
        self.is_stopped.set()


def answer_of(session):
    """Last turn, after its answer is generated."""
    for _ in session.answer():
        pass
    return session.turns[-1]


def find(audio, words):
    units = (Unit("<|sil|>", 0.0, 0.1), Unit("she", 0.1, 0.25), Unit("sells", 0.25, 0.4))
    return Grounding(str(audio), words, units, tuple(find_words(units, words)))


@pytest.fixture
def make_file(tmp_path):
    """Function that writes a WAV file with a tone."""

    def make(name="one.wav", *, seconds=0.5, rate=22_050, channels=2):
        time_S = np.arange(int(rate * seconds)) / rate
        wave = 0.3 * np.sin(2 * np.pi * 440 * time_S)
        path = tmp_path / "uploads" / str(len(list(tmp_path.rglob("*")))) / name
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
        return path

    return make


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "server"
    path.mkdir()
    return path


@pytest.fixture
def store(folder):
    return SessionStore(TalkingChat, folder, Limits(num_sessions=2), find)
