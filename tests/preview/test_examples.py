import pytest

from audio_lm.common.audio_units import WHISPER, Window
from audio_lm.data.examples import ExampleMaker
from audio_lm.preview.examples import render_example, render_imagined
from audio_lm.tasks.registry import TASKS


@pytest.mark.parametrize("prompt", ["tags", "natural", "chatml"])
def test_every_task_is_rendered_without_a_clip(prompt):
    for task in TASKS.values():
        example = render_imagined("pretrain", task, prompt, seconds=2.0, num_tokens=70)
        assert ("[clip 1: 2.00 s]", False) in example.pieces, task
        assert any(is_learned for _, is_learned in example.pieces), task
        assert (example.num_tokens, example.num_audio_tokens, example.is_imagined) == (70, 50, True)


def test_a_chat_is_rendered_without_a_clip():
    example = render_imagined("chat", None, "chatml", seconds=0.0, num_tokens=70)
    assert ("[words in audio places]", False) in example.pieces
    assert any("Ada" in text and is_learned for text, is_learned in example.pieces)


def test_a_cut_is_rendered_as_it_is_encoded(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    (cut,) = make_cuts(1)
    example, encoded = render_example("pretrain", cut, "asr", maker, choice=0), maker.example(cut, "asr")
    assert example.num_tokens == len(encoded)
    assert example.num_audio_tokens == len(encoded.audio_index)
    assert ("one two", True) in example.pieces
    assert not example.is_imagined


def test_a_pooling_projector_gives_fewer_audio_tokens():
    token_count = WHISPER.with_windows(Window(1, 5))
    example = render_imagined(
        "pretrain", TASKS["asr"], "tags", seconds=2.0, num_tokens=70, token_count=token_count
    )
    assert example.num_audio_tokens == 10
