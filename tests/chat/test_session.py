import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from audio_lm.chat.conversation import ChatOptions
from audio_lm.chat.session import ChatSession
from audio_lm.common.errors import DataError, UserError
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.model.decoder.generate import greedy_decode
from audio_lm.model.decoder.sampling import SamplingConfig
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import render_chat

SHORT = ChatOptions(max_new_tokens=6)
SAMPLED = ChatOptions(max_new_tokens=8, sampling=SamplingConfig(temperature=1.5, seed=3))


def talk(session, make_wave, *, restart=False):
    """Token ids of the answers of four turns about three clips."""
    answers = []
    for turn, (clips, text) in enumerate([([0, 1], "one"), ([], "two"), ([2], ""), ([], "three two")]):
        for number in clips:
            session.add_audio(make_wave(number, seconds=0.4 + 0.3 * number))
        if restart:
            session.forget_cache()
        pieces = list(session.send(text))
        assert "".join(pieces) == session.turns[-1].text
        assert len(session.turns) == 2 * turn + 2
        answers.append(session.answer_ids)
    return answers


def test_greedy_tokens_are_those_of_starting_over(loaded, make_wave):
    kept = talk(ChatSession(loaded, SHORT), make_wave)
    assert kept == talk(ChatSession(loaded, SHORT), make_wave, restart=True)
    assert all(kept)


def test_a_turn_is_processed_alone(loaded, make_wave, monkeypatch):
    """Neither clips nor text of earlier turns reach the encoder or the language model again."""
    session = ChatSession(loaded, SHORT)
    encoded, processed = [], []
    encode_audio, embed = loaded.model.encode_audio, loaded.model.embed_tokens
    monkeypatch.setattr(
        loaded.model,
        "encode_audio",
        lambda waves, counts, *rest: encoded.append(counts) or encode_audio(waves, counts, *rest),
    )
    monkeypatch.setattr(loaded.model, "embed_tokens", lambda ids: processed.append(ids.numel()) or embed(ids))
    talk(session, make_wave)
    assert encoded == [(6400, 11200), (16000,)]
    # Each token once, and the last one of the conversation not yet.
    assert session.num_tokens - 1 <= sum(processed) <= session.num_tokens


def test_the_prompt_and_the_answer_are_those_of_a_packed_conversation(loaded, make_wave):
    session = ChatSession(loaded, SHORT)
    waves = [make_wave(0), make_wave(1)]
    for wave in waves:
        session.add_audio(wave)
    text = "".join(session.send("one two"))
    rows = [{"role": "user", "content": [{"audio": 1}, {"audio": 2}, {"text": "one two"}]}]
    pieces = render_chat(rows, with_answer=False)
    encoded = encode(pieces, loaded.vocabulary, num_tokens_of_clip=[12, 12])
    example = Example(
        "x", "chat", 0, encoded.token_ids, encoded.is_learned, encoded.audio_index, (8000, 8000)
    )
    ends = {loaded.vocabulary.end_id, loaded.vocabulary.turn_end_id}
    (answer,) = greedy_decode(loaded.model, pack_examples([example], waves), end_ids=ends, max_new_tokens=6)
    assert session.answer_ids == answer
    assert text == loaded.vocabulary.text(answer)


def test_all_turns_have_the_tokens_of_the_training_format(loaded, make_wave):
    session = ChatSession(loaded, SHORT)
    talk(session, make_wave)
    rows = [
        {
            "role": turn.role,
            "content": [
                *({"audio": number} for number in turn.audios),
                *([{"text": turn.text}] if turn.text else []),
            ],
        }
        for turn in session.turns
    ]
    counts = [10, 17, 25]
    whole = encode(render_chat(rows[:-1], with_answer=False), loaded.vocabulary, num_tokens_of_clip=counts)
    kept = session._history._ids[: len(session._history._ids) - len(session.answer_ids)]
    assert loaded.vocabulary.text(kept) == loaded.vocabulary.text(whole.token_ids)


def test_sessions_of_one_model_do_not_mix(loaded, make_wave):
    alone = [talk(ChatSession(loaded, SAMPLED, key=f"{number}"), make_wave) for number in range(3)]
    together = {}

    def converse(number):
        together[number] = talk(ChatSession(loaded, SAMPLED, key=f"{number}"), make_wave)

    threads = [threading.Thread(target=converse, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(3)] == alone
    assert alone[0] != alone[1]


def test_answers_of_interleaved_sessions_are_their_own(loaded, make_wave):
    first, second = ChatSession(loaded, SHORT), ChatSession(loaded, SHORT)
    first.add_audio(make_wave(0))
    second.add_audio(make_wave(1))
    both = [first.send("one"), second.send("two three")]
    while both:
        both = [answer for answer in both if next(answer, None) is not None]
    for session, number, text in ((first, 0, "one"), (second, 1, "two three")):
        alone = ChatSession(loaded, SHORT)
        alone.add_audio(make_wave(number))
        list(alone.send(text))
        assert alone.answer_ids == session.answer_ids


def test_an_answer_is_stopped_and_the_conversation_goes_on(loaded, make_wave):
    session = ChatSession(loaded, ChatOptions(max_new_tokens=50))
    session.add_audio(make_wave())
    answer = session.send("one")
    first = next(answer)
    session.stop()
    rest = "".join(answer)
    assert session.turns[-1].text == first + rest
    assert not session.turns[-1].is_complete
    assert len(session.answer_ids) <= 3
    assert "".join(session.send("two")) == session.turns[-1].text


def test_an_answer_that_nobody_reads_to_its_end_stays_as_far_as_it_was_read(loaded):
    session = ChatSession(loaded, ChatOptions(max_new_tokens=50))
    answer = session.send("one")
    first = next(answer)
    answer.close()
    assert [turn.role for turn in session.turns] == ["user", "assistant"]
    assert session.turns[-1].text == first
    session.send("never read")
    started = session.send("read in part")
    partial = next(started)
    list(session.send("two"))
    assert list(started) == [], "it belongs to an earlier turn"
    assert session.turns[5].text.startswith(partial)
    assert [turn.role for turn in session.turns] == ["user", "assistant"] * 4


def test_a_greedy_answer_is_generated_again_and_a_sampled_one_differs(loaded, make_wave):
    session = ChatSession(loaded, SHORT)
    talk(session, make_wave)
    before = session.answer_ids
    list(session.regenerate())
    assert session.answer_ids == before
    assert len(session.turns) == 8
    session.options = SAMPLED
    list(session.regenerate())
    sampled = session.answer_ids
    list(session.regenerate())
    assert session.answer_ids != sampled


def test_a_sampled_conversation_is_repeated_by_its_seed(loaded, make_wave):
    runs = [talk(ChatSession(loaded, SAMPLED, key="a"), make_wave) for _ in range(2)]
    assert runs[0] == runs[1]
    other = replace(SAMPLED, sampling=replace(SAMPLED.sampling, seed=4))
    assert talk(ChatSession(loaded, other, key="a"), make_wave) != runs[0]


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(loaded):
    session = ChatSession(loaded, ChatOptions(max_new_tokens=12))
    whole = "".join(session.send("one"))
    string = whole[len(whole) // 2 : len(whole) // 2 + 3]
    other = ChatSession(loaded, ChatOptions(max_new_tokens=12, stop=(string,)))
    assert "".join(other.send("one")) == whole[: whole.find(string)] == other.turns[-1].text
    assert other.turns[-1].is_complete


def test_a_reset_session_is_as_new(loaded, make_wave):
    session = ChatSession(loaded, SHORT)
    first = talk(session, make_wave)
    session.add_audio(make_wave(9))
    session.reset()
    assert (session.turns, session.audios, session.pending, session.num_tokens) == ([], [], (), 0)
    assert talk(session, make_wave) == first


def test_a_long_clip_follows_the_rule_of_the_training(loaded, make_wave):
    long = make_wave(seconds=31)
    with pytest.raises(DataError, match=r"31\.0 s is longer than the encoder's 30 s"):
        ChatSession(loaded).add_audio(long)
    session = ChatSession(replace(loaded, long_audio="chunk"))
    assert session.add_audio(long) == 1
    assert [audio.seconds for audio in session.audios] == [30.0, 1.0]
    assert session.pending == (1, 2)
    session = ChatSession(replace(loaded, long_audio="chunk"), ChatOptions(long_audio="truncate"))
    session.add_audio(long)
    assert [audio.seconds for audio in session.audios] == [30.0]
    session.remove_pending()
    assert (session.audios, session.pending) == ([], ())


def test_mistakes_are_one_sentence_and_change_nothing(loaded, make_wave):
    with pytest.raises(UserError, match="trained with prompt tags -- expected chatml"):
        ChatSession(replace(loaded, prompt="tags"))
    session = ChatSession(loaded, SHORT)
    with pytest.raises(UserError, match="message is empty"):
        session.send(" ")
    with pytest.raises(UserError, match="no answer to generate again"):
        session.regenerate()
    for number in range(3):
        session.add_audio(make_wave(number, seconds=30))
    with pytest.raises(UserError, match="the model has 2048 positions"):
        session.send("one")
    assert session.turns == []
    assert session.num_tokens == 0
    session.remove_pending()
    assert list(session.send("one"))


def test_a_saved_conversation_has_its_turns_and_clips(loaded, make_wave, tmp_path):
    session = ChatSession(loaded, SHORT)
    talk(session, make_wave)
    folder = session.save(tmp_path / "saved")
    content = json.loads((folder / "conversation.json").read_text())
    assert content["conversation"][0]["content"] == [{"audio": 1}, {"audio": 2}, {"text": "one"}]
    assert content["conversation"][-1]["content"] == [{"text": session.turns[-1].text}]
    wave, rate = soundfile.read(folder / "audio_3.wav")
    assert rate == 16_000
    np.testing.assert_allclose(wave, make_wave(2, seconds=1.0), atol=1e-4)
    with pytest.raises(UserError, match="expected a new folder"):
        session.save(folder)
