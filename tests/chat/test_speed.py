from audio_lm.chat.speed import bench_turns, format_turns, small_chat_model


def test_a_kept_conversation_is_faster_and_has_the_same_tokens(loaded):
    figures = bench_turns(loaded, num_audios=3, seconds=3.0, new_tokens=3, rounds=1)
    assert figures.num_different == 0
    assert figures.num_compared == 2 * 4 * 3
    assert figures.num_tokens > 3 * 75
    assert figures.kept_s < figures.restarted_s
    assert "0 of 24 differ" in format_turns(figures)[-1]


def test_the_small_model_can_talk():
    loaded = small_chat_model()
    assert loaded.prompt == "chatml"
    assert len(loaded.vocabulary) <= loaded.model.num_base + len(loaded.model.new_tokens.output)
