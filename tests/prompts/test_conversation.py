from audio_lm.prompts.conversation import Clip, Text, as_text, join_text, markup
from audio_lm.tasks.task import Markup


def test_only_markup_becomes_markup():
    assert not as_text("<|en|>").is_markup
    assert as_text(Markup("<|en|>")).is_markup


def test_pieces_are_written_in_order_and_the_learned_ones_alone():
    pieces = [markup("<audio>"), Clip(1), markup("</audio>"), Text("yes", is_learned=True)]
    assert join_text(pieces) == "<audio><|AUDIO|></audio>yes"
    assert join_text(pieces, only_learned=True) == "yes"
