import pytest

from audio_lm.common.errors import UserError
from audio_lm.web.limits import Limits
from audio_lm.web.store import SessionStore
from tests.web.conftest import TalkingChat, answer_of, find


def test_sessions_do_not_see_each_other(store, make_file):
    one, two = store.open("a"), store.open("b")
    one.add_question("Mine?", [make_file()])
    answer_of(one)
    assert two.turns == []
    assert two.chat is not one.chat
    assert store.open("a") is one
    assert store.find("c") is None


def test_the_end_of_a_session_deletes_its_files_and_its_uploads(store, make_file, folder):
    path, shared = make_file(), make_file("shared.wav")
    store.keep_uploads("a", [path, shared])
    store.keep_uploads("b", [shared])
    session = store.open("a")
    session.add_question("Which?", [path])
    answer_of(session)
    (token,) = {clip.token for clip in session.turns[0].clips}
    assert store.find_file(f"{token}.wav").is_file()
    store.close("a")
    assert store.find_file(f"{token}.wav") is None
    assert not list(folder.iterdir())
    assert not path.exists()
    assert shared.exists()
    store.close_all()
    assert not shared.exists()


def test_too_many_sessions_are_refused_until_one_is_idle(folder):
    store = SessionStore(TalkingChat, folder, Limits(num_sessions=2, idle_seconds=100), find)
    store.open("a")
    store.open("b")
    with pytest.raises(UserError, match="2 conversations are open -- expected at most 2"):
        store.open("c")
    store.open("a").last_used -= 1000
    store.open("c")
    assert store.find("a") is None
    assert len(store) == 2
