import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_lm.chat.conversation import ChatAudio, ChatTurn, clip_name, save_conversation
from audio_lm.common.errors import UserError
from audio_lm.prompts.chatml import turns_of


def test_a_saved_conversation_is_one_of_the_training_format(tmp_path):
    wave = np.linspace(-0.5, 0.5, 1000, dtype=np.float32)
    turns = [
        ChatTurn("user", "one", (1,)),
        ChatTurn("assistant", ""),
        ChatTurn("user", "", (2,)),
        ChatTurn("assistant", "你好"),
    ]
    folder = save_conversation(
        tmp_path / "a" / "b", turns, [ChatAudio(1, "x.mp3", wave), ChatAudio(2, "y", wave)], source="model"
    )
    content = json.loads((folder / "conversation.json").read_text(encoding="utf-8"))
    assert content["audio_names"] == {"1": "x.mp3", "2": "y"}
    assert content["model"] == "model"
    rows = turns_of(content["conversation"])
    assert [turn.content for turn in rows] == [(1, "one"), ("",), (2,), ("你好",)]
    np.testing.assert_allclose(soundfile.read(folder / "audio_2.wav")[0], wave, atol=1e-4)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_is_overwritten(tmp_path, kind):
    place = tmp_path / "there"
    (place if kind == "file" else place / "x").parent.mkdir(exist_ok=True)
    (place if kind == "file" else place / "x").write_text("kept")
    with pytest.raises(UserError, match="expected a new folder"):
        save_conversation(place, [], [], source="")


def test_a_clip_is_named_after_its_file():
    assert clip_name("a/b.wav", None, 3) == clip_name(Path("b.wav"), None, 3) == "b.wav"
    assert clip_name(b"", None, 3) == "audio 3"
    assert clip_name("a/b.wav", "own", 3) == "own"
