import threading

import pytest
import torch

from audio_lm.model.decoder.kv_cache import ConversationCache, DecodingRows, decoding

IDS = [5, 9, 11, 7, 8, 9, 10, 12]


def test_a_conversation_in_pieces_has_the_states_of_the_whole(make_model):
    model = make_model()
    waves = [torch.randn(6400) * 0.1, torch.randn(8000) * 0.1]
    counts = [model.encoder.token_count.tokens_in(len(wave)) for wave in waves]
    first, second = [1, *[2] * counts[0], 3], [4, *[2] * counts[1], 5, 6]
    places = [range(1, 1 + counts[0]), range(1, 1 + counts[1])]
    with decoding(model):
        whole = ConversationCache(model)
        shifted = [len(first) + place for place in places[1]]
        expected = whole.append([*first, *second], [*places[0], *shifted], waves)
        pieces = ConversationCache(model)
        pieces.append(first, [*places[0]], waves[:1])
        torch.testing.assert_close(pieces.append(second, [*places[1]], waves[1:]), expected)
        assert len(pieces) == len(whole) == len(first) + len(second)


def test_a_cropped_conversation_goes_on_as_if_the_rest_had_not_been(make_model):
    model = make_model()
    with decoding(model):
        expected = ConversationCache(model).append(IDS[:5])
        cache = ConversationCache(model)
        cache.append([*IDS[:3], 30, 31, 32])
        cache.crop(3)
        cache.crop(7)
        assert len(cache) == 3
        torch.testing.assert_close(cache.append(IDS[3:5]), expected)


def test_repeated_and_selected_rows_are_those_of_one_prompt(make_model):
    model = make_model()
    with decoding(model):
        rows = DecodingRows(model)
        embedded = model.embed_tokens(torch.tensor([IDS]))
        rows.append(embedded, torch.ones(1, len(IDS), dtype=torch.long))
        rows.repeat(3)
        rows.select(torch.tensor([0, 2]))
        states = rows.append_tokens(torch.tensor([20, 21]))
        for row, token in enumerate((20, 21)):
            expected = ConversationCache(model).append([*IDS, token])
            torch.testing.assert_close(states[row], expected)


def test_the_attention_for_packs_is_back_after_use(make_model):
    model = make_model()
    before = model.language_model.config._attn_implementation
    with decoding(model):
        with decoding(model):
            assert model.language_model.config._attn_implementation == "sdpa"
        assert model.language_model.config._attn_implementation == "sdpa"
        assert not torch.is_grad_enabled()
    assert model.language_model.config._attn_implementation == before != "sdpa"
    with pytest.raises(ZeroDivisionError), decoding(model):
        _ = 1 / 0
    assert model.language_model.config._attn_implementation == before


def test_one_thread_at_a_time_uses_a_model(make_model):
    model, other = make_model(), make_model()
    inside = threading.Event()

    def use(which):
        with decoding(which):
            inside.set()

    with decoding(model):
        waiting = threading.Thread(target=use, args=(model,))
        waiting.start()
        assert not inside.wait(0.1)
        free = threading.Thread(target=use, args=(other,))
        free.start()
        assert inside.wait(10)
        free.join()
        inside.clear()
    assert inside.wait(10)
    waiting.join()
