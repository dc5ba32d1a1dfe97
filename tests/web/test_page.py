import asyncio
import json
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio")

import gradio as gr

from audio_lm.chat.conversation import ChatOptions
from audio_lm.web.page import MAX_TOKENS, _Page, build_page
from audio_lm.web.prompts import ExamplePrompt


@pytest.fixture
def page(store):
    return _Page(store, ChatOptions(max_new_tokens=7))


def of(session_id="a"):
    return SimpleNamespace(session_hash=session_id)


def answer(page, session_id="a"):
    return list(page.answer(of(session_id)))


def test_a_question_is_answered_in_steps_that_grow(page, make_file):
    box, turns, stop, again, clear = page.ask({"text": "Which?", "files": [str(make_file())]}, 0.5, 9, of())
    assert box is None
    assert (stop["visible"], again["interactive"], clear["interactive"]) == (True, False, True)
    assert [("question" in turn, "open" in turn) for turn in json.loads(turns)] == [
        (True, False),
        (False, True),
    ]
    turns, stop, again, _ = answer(page)[-1]
    assert "about 1 clips" in json.loads(turns)[1]
    assert (stop["visible"], again["interactive"]) == (False, True)
    options = page.store.find("a").chat.options
    assert (options.sampling.temperature, options.max_new_tokens) == (0.5, 9)


def test_settings_of_a_browser_stay_in_their_ranges(page):
    page.ask({"text": "Which?", "files": []}, 2, 1e9, of())
    assert page.store.find("a").chat.options.max_new_tokens == MAX_TOKENS
    with pytest.raises(gr.Error, match="temperature -1"):
        page.ask({"text": "Which?", "files": []}, -1, 5, of("b"))


def test_a_mistake_is_shown_and_its_text_escaped(page, tmp_path):
    path = tmp_path / "<img src=x>.wav"
    path.write_text("no audio")
    with pytest.raises(gr.Error) as error:
        page.ask({"text": "", "files": [str(path)]}, 0, 5, of())
    assert "&lt;img" in error.value.message
    assert "<img" not in error.value.message


def test_regenerate_search_stop_and_clear(page, make_file):
    with pytest.raises(gr.Error, match="the conversation has ended"):
        page.reopen(0, 5, of())
    page.search({"text": "she", "files": [str(make_file())]}, of())
    assert "she" in answer(page)[-1][0]
    page.ask({"text": "Which?", "files": []}, 0, 5, of())
    page.stop(of())
    answer(page)
    page.reopen(0, 5, of())
    assert "answer 1" in answer(page)[-1][0]
    assert page.clear(of())[1] == "[]"
    assert page.store.find("a") is None
    assert answer(page) == []


def test_an_answer_that_was_cleared_is_not_shown_again(page):
    page.ask({"text": "Which?", "files": []}, 0, 5, of())
    steps = page.answer(of())
    next(steps)
    page.clear(of())
    page.ask({"text": "New?", "files": []}, 0, 5, of())
    assert list(steps) == []


def test_uploads_that_are_not_sent_go_with_the_page(page, make_file):
    kept, removed = make_file(), make_file("two.wav")
    page.keep_uploads({"text": "", "files": [str(kept), str(removed)]}, of())
    page.keep_uploads({"text": "", "files": [str(kept)]}, of())
    assert (kept.exists(), removed.exists()) == (True, False)
    page.leave(of())
    assert not kept.exists()


def test_a_sent_upload_is_deleted(page, make_file):
    path = make_file()
    page.keep_uploads({"text": "", "files": [str(path)]}, of())
    page.ask({"text": "", "files": [str(path)]}, 0, 5, of())
    assert not path.exists()


def test_the_page_is_built_from_its_title_and_prompts_escaped(store):
    blocks = build_page(store, ChatOptions(), title="<b>model", prompts=(ExamplePrompt("asr", 'Say "<i>"'),))
    values = " ".join(str(block.value) for block in blocks.blocks.values() if isinstance(block, gr.HTML))
    assert "&lt;b&gt;model" in values
    assert 'data-text="Say &quot;&lt;i&gt;&quot;"' in values
    assert blocks.analytics_enabled is False
    asyncio.run(asyncio.sleep(0))


def test_events_of_the_page_cannot_be_called_as_an_api(store):
    blocks = build_page(store, ChatOptions(), title="model")
    assert blocks.get_api_info()["named_endpoints"] == {}
    assert blocks.get_api_info()["unnamed_endpoints"] == {}
