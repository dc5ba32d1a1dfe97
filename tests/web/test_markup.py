import json
import re

from audio_lm.chat.grounding import Span
from audio_lm.web.clips import ShownClip
from audio_lm.web.markup import conversation_json
from audio_lm.web.sessions import Turn

CLIPS = (ShownClip("a" * 32, "one.wav", 2.0, 64_044), ShownClip("b" * 32, "two.wav", 1.0, 32_044))
EVIL = '<script>alert("x")</script> {{value}} ${value} <img src=x onerror=alert(1)>'


def shown(*turns):
    return json.loads(conversation_json(turns))


def test_texts_and_names_are_escaped():
    clip = ShownClip("c" * 32, f"{EVIL}.wav", 1.0, 1)
    parts = shown(Turn("user", EVIL, (clip,)), Turn("model", EVIL), Turn("model", error=EVIL))
    for part in parts:
        assert "<script" not in part
        assert "onerror=alert(1)&gt;" in part
    assert shown(Turn("user", "", CLIPS), Turn("model", f"<|0.00|>{EVIL}<|1.00|>"))[1].count("<script") == 0


def test_audios_are_numbered_through_the_conversation():
    parts = shown(Turn("user", "", CLIPS[:1]), Turn("model", "yes"), Turn("user", "And?", CLIPS[1:]))
    assert re.findall("<b>(Audio .)</b>", "".join(parts)) == ["Audio 1", "Audio 2"]
    assert 'src="clips/' + "b" * 32 + '.wav"' in parts[2]


def test_words_with_a_place_are_buttons_of_their_audio():
    text = "<|0.00|>she<|0.30|>sells<|0.50|>"
    (_, answer) = shown(Turn("user", "", CLIPS), Turn("model", text, found=(Span("sells", 0.3, 0.5),)))
    buttons = re.findall(
        r'<button class="(.*?)" data-clip="(.).*?" data-start="(.*?)" data-end="(.*?)"', answer
    )
    assert buttons == [("span", "b", "0.00", "0.30"), ("span found", "b", "0.30", "0.50")]


def test_a_place_after_the_end_of_the_audio_is_plain_text():
    (_, answer) = shown(Turn("user", "", CLIPS), Turn("model", "<|1.00|>late<|1.50|>"))
    assert "<button" not in answer
    assert "late" in answer


def test_the_state_of_an_answer_is_its_class():
    parts = shown(
        Turn("model", "ye", is_open=True), Turn("model", "yes"), Turn("model"), Turn("model", error="no")
    )
    assert [re.findall(r'class="turn answer (\w+)"', part)[0] for part in parts] == [
        "open",
        "done",
        "done",
        "failed",
    ]
    assert "no answer" in parts[2]


def test_earlier_turns_are_the_same_text_while_an_answer_grows():
    """The script keeps a turn, and the audio that plays in it, where its text is the same."""
    question = Turn("user", "Which?", CLIPS)
    assert shown(question, Turn("model", "a", is_open=True))[0] == shown(question, Turn("model", "a b"))[0]
