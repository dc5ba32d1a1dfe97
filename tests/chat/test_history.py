import pytest
import torch

from audio_lm.chat.history import History
from audio_lm.common.errors import UserError
from audio_lm.model.decoder.kv_cache import decoding
from audio_lm.prompts.encode import Encoding


def prompt(*ids, audio_index=()):
    return Encoding([*ids], [False] * len(ids), [*audio_index])


def test_the_state_of_the_last_position_is_that_of_starting_over(loaded):
    wave = torch.randn(6400) * 0.1
    num = History(loaded).tokens_in(len(wave))
    with_clip = prompt(1, *[2] * num, 3, audio_index=range(1, 1 + num))
    history, other = History(loaded), History(loaded)
    for one in (history, other):
        one.add_prompt(with_clip, [wave])
        with decoding(loaded.model):
            one.process()
        for token in (7, 8, 9):
            one.add_answer_token(token)
        one.cut_answer(2)
        assert one.answer_ids == [7, 8]
        one.add_prompt(with_clip, [wave])
        assert one.answer_ids == []
    other.forget_cache()
    with decoding(loaded.model):
        torch.testing.assert_close(history.process(), other.process())
        again = history.process()  # the last position alone
        torch.testing.assert_close(again, other.process())
    assert len(history) == 2 * len(with_clip.token_ids) + 2


def test_a_dropped_answer_leaves_the_prompt(loaded):
    history, fresh = History(loaded), History(loaded)
    for one in (history, fresh):
        one.add_prompt(prompt(1, 2, 3), [])
    with decoding(loaded.model):
        history.process()
        for token in (7, 8):
            history.add_answer_token(token)
            history.process()
        history.drop_answer()
        torch.testing.assert_close(history.process(), fresh.process())


def test_the_positions_of_the_model_are_the_limit(loaded):
    history = History(loaded)
    history.add_prompt(prompt(*[1] * 2000), [])
    assert history.num_free == 48
    with pytest.raises(UserError, match="would have 2050 tokens -- the model has 2048 positions"):
        history.add_prompt(prompt(*[1] * 50), [])
    assert len(history) == 2000
