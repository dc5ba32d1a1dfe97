import pytest

from audio_lm.prompts.stop_strings import StopStrings, TextStream


def stream_of(vocabulary, ids, *strings):
    """Pieces of an answer, and its kept tokens."""
    stop = StopStrings(vocabulary, strings)
    stream, pieces = TextStream(vocabulary, stop), []
    for count in range(1, len(ids) + 1):
        end = stop.end_of(ids[:count])
        if end is not None:
            return [*pieces, stream.finish(ids[:count])], ids[:end]
        pieces.append(stream.advance(ids[:count]))
    return [*pieces, stream.finish(ids)], ids


@pytest.mark.parametrize("text", ["one two three", "Zürich 你好 🎵 end", "", "zero<|0.50|>one"])
def test_the_pieces_of_a_text_are_the_text(vocabulary, text):
    ids = vocabulary.ids(text, is_markup="<|" in text)
    pieces, kept = stream_of(vocabulary, ids)
    assert "".join(pieces) == text
    assert kept == ids
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("string", [" two", "two", "e t", "wo th", "three", "one"])
def test_the_text_ends_before_a_stop_string(vocabulary, string):
    text = "one two three four"
    pieces, kept = stream_of(vocabulary, vocabulary.ids(text, is_markup=False), string)
    assert "".join(pieces) == text[: text.find(string)]
    assert text[: text.find(string)].startswith(vocabulary.text(kept))


def test_the_start_of_a_stop_string_is_held_back_and_given_if_it_goes_on_otherwise(vocabulary):
    stop = StopStrings(vocabulary, ["two three"])
    assert stop.held_back("one two t") == len("two t")
    assert stop.held_back("one two") == len("two")
    assert stop.held_back("one") == 0
    ids = vocabulary.ids("one two two", is_markup=False)
    pieces, kept = stream_of(vocabulary, ids, "two three")
    assert ("".join(pieces), kept) == ("one two two", ids)


def test_the_first_of_several_strings_counts(vocabulary):
    pieces, _ = stream_of(vocabulary, vocabulary.ids("one two three", is_markup=False), "three", "two")
    assert "".join(pieces) == "one "
    assert StopStrings(vocabulary, ["", "x"]).end_of(vocabulary.ids("one", is_markup=False)) is None
