import io
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from rich.console import Console

from audio_lm.chat.conversation import ChatOptions
from audio_lm.chat.session import ChatSession
from audio_lm.chat.terminal import COMMANDS, HELP, Terminal
from audio_lm.common.errors import DataError, UserError


@pytest.fixture
def session(loaded):
    return ChatSession(loaded, ChatOptions(max_new_tokens=6))


@pytest.fixture
def clip(tmp_path, make_wave):
    path = tmp_path / "a clip.wav"
    soundfile.write(path, make_wave(), 16_000)
    return path


def run(session, *lines, is_interactive=False):
    """Answers, and messages."""
    messages = Console(file=io.StringIO(), width=200)
    terminal = Terminal(session, io.StringIO(), messages, is_interactive=is_interactive)
    terminal.run([f"{line}\n" for line in lines])
    return terminal.answers.getvalue(), messages.file.getvalue()


def test_a_script_reads_answers_alone(session, loaded, clip):
    answers, messages = run(session, f"/audio '{clip}'", "one two", "", "three")
    texts = [turn.text for turn in session.turns if turn.role == "assistant"]
    assert answers == "".join(f"{text}\n" for text in texts)
    assert "Audio 1: " in messages
    assert [turn.audios for turn in session.turns if turn.role == "user"] == [(1,), ()]
    other = ChatSession(loaded, ChatOptions(max_new_tokens=6))
    other.add_audio(clip)
    assert "".join(other.send("one two")) == texts[0]


def test_clips_alone_are_a_spoken_question(session, clip):
    run(session, f"/audio '{clip}' '{clip}'", "/send")
    assert (session.turns[0].text, session.turns[0].audios) == ("", (1, 2))


def test_commands(session, clip, tmp_path):
    folder = tmp_path / "saved"
    answers, messages = run(
        session, "one", "/regenerate", f"/save {folder}", "/help", "/reset", "//slash", "/quit", "never"
    )
    assert len(answers.splitlines()) >= 3
    assert (folder / "conversation.json").is_file()
    assert all(usage in messages for usage in HELP)
    assert [turn.text for turn in session.turns if turn.role == "user"] == ["/slash"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/adio x.wav", "Did you mean '/audio'"),
        ("/audio", "expected /audio FILE"),
        ("/save", "expected /save FOLDER"),
        ("/help me", "0 arguments|1 arguments -- expected /help"),
        ("/audio 'x", "open quote"),
        ("/send", "message is empty"),
        ("/regenerate", "no answer to generate again"),
        ("/record", "write /record 5|sounddevice|PortAudio|microphone"),
    ],
)
def test_a_mistake_ends_a_script_and_not_a_conversation(session, line, words):
    with pytest.raises(UserError, match=words):
        run(session, line, "one")
    assert session.turns == []
    answers, messages = run(session, line, "one", is_interactive=True)
    assert len(session.turns) == 2
    assert answers
    assert messages


def test_a_missing_file_is_one_sentence(session):
    with pytest.raises(DataError, match=r"none\.wav is missing"):
        run(session, "/audio none.wav")


def test_ctrl_c_ends_the_answer_and_not_the_conversation(loaded):
    session = ChatSession(loaded, ChatOptions(max_new_tokens=400))
    written = io.StringIO()

    class Interrupting(io.StringIO):
        def write(self, text):
            written.write(text)
            if len(written.getvalue()) > 5 and not session._stopping.is_set():
                raise KeyboardInterrupt
            return len(text)

    terminal = Terminal(session, Interrupting(), Console(file=io.StringIO()))
    terminal.run(["one", "/help"])
    assert not session.turns[-1].is_complete
    assert 5 < len(session.turns[-1].text) < 200


def fake_library(*, has_device=True):
    class PortAudioError(Exception):
        pass

    class InputStream:
        def __init__(self, callback, **settings):
            assert settings == {"samplerate": 16_000, "channels": 1, "dtype": "float32"}
            self.callback = callback

        def __enter__(self):
            for number in range(5):
                self.callback(np.full((1600, 1), number / 10, np.float32), 1600, None, None)

        def __exit__(self, *_):
            pass

    def query_devices(kind):
        if not has_device:
            raise PortAudioError("no default input")

    return SimpleNamespace(
        InputStream=InputStream, PortAudioError=PortAudioError, query_devices=query_devices
    )


def test_the_microphone_records_a_clip(session, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_library())
    _, messages = run(session, "/record 0.3", "one")
    assert "Audio 1: microphone" in messages
    assert session.turns[0].audios == (1,)
    np.testing.assert_allclose(session.audios[0].wave, np.repeat([0.0, 0.1, 0.2], 1600))
    for wrong in ("/record x", "/record -1", "/record 1 2"):
        with pytest.raises(UserError, match="/record"):
            run(session, wrong)


def test_a_recording_ends_with_enter(session, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_library())
    terminal = Terminal(session, io.StringIO(), Console(file=io.StringIO()))
    pressed = threading.Event()
    monkeypatch.setattr(terminal.messages, "input", lambda *_: pressed.set() or "")
    terminal.run(["/record", "/send"])
    assert pressed.is_set()
    assert session.turns[0].audios == (1,)


def test_every_command_has_help():
    assert len(set(COMMANDS)) == len(COMMANDS) == len(HELP)
