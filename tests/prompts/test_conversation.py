from audio_lm.prompts.conversation import Clip, Text, as_text, join_text, markup
from audio_lm.tasks.task import Markup


def test_only_strings_of_type_markup_become_markup():
    assert not as_text("<|en|>").is_markup
    assert as_text(Markup("<|en|>")).is_markup


def test_pieces_are_joined_in_order_all_or_the_learned_ones():
    pieces = [markup("<audio>"), Clip(1), markup("</audio>"), Text("yes", is_learned=True)]
    assert join_text(pieces) == "<audio><|AUDIO|></audio>yes"
    assert join_text(pieces, only_learned=True) == "yes"
