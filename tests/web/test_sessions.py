import threading

import pytest

from audio_lm.common.errors import DataError, UserError
from audio_lm.web.limits import Limits
from audio_lm.web.sessions import PageSession
from tests.web.conftest import TalkingChat, answer_of


def test_a_question_has_its_clips_and_a_streamed_answer(store, make_file):
    session = store.open("a")
    session.add_question("Which?", [make_file(), make_file("two.wav")])
    assert session.is_answering
    texts = [session.turns[-1].text for _ in session.answer()]
    assert texts[-1] == "answer 1 to 'Which?' about 2 clips <|0.00|>she<|0.30|> "
    assert not session.is_answering
    assert len(list(session.folder.iterdir())) == 4
    session.add_question("And now?", [])
    assert "answer 2 to 'And now?' about 2 clips" in answer_of(session).text


def test_an_answer_is_regenerated_without_its_question(store):
    session = store.open("a")
    session.add_question("Which?", [])
    answer_of(session)
    session.reopen_answer()
    assert "answer 2 to 'Which?'" in answer_of(session).text
    assert session.chat.questions == ["Which?"]
    assert len(session.turns) == 2


def test_an_answer_is_stopped_and_keeps_its_beginning(folder):
    session = PageSession(TalkingChat(seconds=0.05), folder, Limits())
    session.add_question("Which?", [])
    for _ in session.answer():
        session.stop()
    assert session.turns[-1].text.startswith("answer ")
    assert "clips" not in session.turns[-1].text
    session.reopen_answer()
    assert "answer 2" in answer_of(session).text


def test_a_question_that_was_stopped_before_the_model_had_it_is_sent_by_regenerate(store):
    session = store.open("a")
    session.add_question("Which?", [])
    session.stop()
    assert answer_of(session).text == ""
    assert session.chat.questions == []
    session.reopen_answer()
    assert "answer 1 to 'Which?'" in answer_of(session).text


def test_a_session_ends_while_its_answer_is_generated(folder):
    session = PageSession(TalkingChat(seconds=0.05), folder / "one", Limits())
    session.folder.mkdir()
    session.add_question("Which?", [])
    answers = session.answer()
    next(answers)
    session.close()
    assert session.turns == []
    assert not session.folder.exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("audio-lm-answer")]


def test_an_error_of_the_user_is_the_answer(store):
    session = store.open("a")
    session.add_question("too long", [])
    assert answer_of(session).error == "the conversation would be too long -- start a new one"


def test_an_internal_error_ends_the_answer_and_is_logged(store, monkeypatch):
    logged = []
    monkeypatch.setattr(threading, "excepthook", lambda found: logged.append(found.exc_type))
    session = store.open("a")
    session.chat.words = lambda: iter([1])
    session.add_question("Which?", [])
    worker_of = session.answer()
    next(worker_of)
    list(worker_of)
    assert "internal error" in session.turns[-1].error
    assert not session.is_answering
    for thread in threading.enumerate():
        if thread.name == "audio-lm-answer":
            thread.join()
    assert logged == [TypeError]


def test_one_answer_at_a_time(store):
    session = store.open("a")
    session.add_question("Which?", [])
    for act in (
        lambda: session.add_question("More?", []),
        session.reopen_answer,
        lambda: session.add_search("she", []),
    ):
        with pytest.raises(UserError, match="wait for its end, or stop it"):
            act()


def test_unusable_messages_leave_nothing(store, make_file, tmp_path):
    session = store.open("a")
    with pytest.raises(UserError, match="the message is empty"):
        session.add_question("  ", [])
    with pytest.raises(UserError, match="no answer to regenerate"):
        session.reopen_answer()
    with pytest.raises(UserError, match="10 files -- expected at most 9"):
        session.add_question("Which?", [make_file()] * 10)
    bad = tmp_path / "bad.wav"
    bad.write_text("text")
    with pytest.raises(DataError, match=r"bad\.wav"):
        session.add_question("Which?", [make_file(), bad])
    assert session.turns == []
    assert not list(session.folder.iterdir())


def test_the_audio_of_a_conversation_is_limited(folder, make_file):
    session = PageSession(TalkingChat(), folder, Limits(session_mib=0.02))
    session.add_question("Which?", [make_file()])
    answer_of(session)
    with pytest.raises(DataError, match="clear the conversation"):
        session.add_question("Which?", [make_file()])
    assert len(list(folder.iterdir())) == 2


def test_found_words_are_marked_and_their_audio_keeps_its_number_in_the_chat(store, make_file):
    session = store.open("a")
    session.add_search("sells", [make_file()])
    turn = answer_of(session)
    assert turn.text.startswith('"sells" occurs once in audio 1\n')
    assert [(span.start, span.end) for span in turn.found] == [(0.25, 0.4)]
    assert session.chat.clips == []
    session.add_question("Which?", [make_file("two.wav")])
    assert "about 2 clips" in answer_of(session).text
    session.add_search("never", [])
    assert answer_of(session).text.startswith('"never" is not in audio 2\n')


def test_a_search_needs_words_audio_and_a_model_for_it(store, folder, make_file):
    with pytest.raises(UserError, match="no words to find"):
        store.open("a").add_search(" ?", [make_file()])
    with pytest.raises(UserError, match="no audio to find words in"):
        store.open("a").add_search("she", [])
    with pytest.raises(UserError, match="finds no words"):
        PageSession(TalkingChat(), folder, Limits()).add_search("she", [make_file()])
