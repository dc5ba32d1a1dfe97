from audio_lm.common.markup import MARKUP, TAG


def test_splitting_keeps_the_tokens():
    assert TAG.split("<|en|>one<audio>") == ["", "<|en|>", "one<audio>"]
    assert MARKUP.split("<|en|>one</audio>") == ["", "<|en|>", "one", "</audio>", ""]


def test_a_token_does_not_reach_over_another():
    assert TAG.findall("<|a<|b|>|c|>") == ["<|b|>"]
