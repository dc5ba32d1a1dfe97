"""The page in a headless Chromium, over a chat that repeats its question slowly, and over a trained run."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from audio_lm.web.limits import Limits
from audio_lm.web.prompts import ExamplePrompt
from audio_lm.web.server import Address, Site, bind, build_app
from audio_lm.web.store import SessionStore
from tests.web.browser import PHONE, Visitor, opened_browser, require_browser
from tests.web.conftest import TalkingChat, find

pytestmark = pytest.mark.slow
PASSWORD = "right password"
PICTURES = os.environ.get("AUDIO_LM_PICTURES")  # folder to keep screenshots in, for people


def picture(visitor, name):
    if PICTURES:
        visitor.page.wait_for_timeout(400)
        visitor.page.screenshot(path=Path(PICTURES) / f"{name}.png")


@pytest.fixture
def start(folder, monkeypatch):
    """Function that serves a store; returns its address, and records connections of the server to other machines."""
    require_browser()
    import uvicorn

    connect, servers, left = socket.socket.connect, [], []

    def record(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            left.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", record)
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")  # restored afterwards

    def serve(store, address=Address(port=0)):  # noqa: B008
        site = Site(
            "runs/demo, stage chat",
            prompts=(ExamplePrompt("asr", "Which words are spoken?"),),
            find_words=find,
        )
        opened = bind(address)
        config = uvicorn.Config(
            build_app(store, site, folder, address), log_level="warning", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{opened.getsockname()[1]}"

    yield serve
    for server, thread in servers:
        server.should_exit = True
        thread.join(timeout=20)
    assert left == []


@pytest.fixture
def slow_store(folder):
    return SessionStore(
        lambda: TalkingChat(seconds=0.12), folder, Limits(upload_mib=0.2, num_sessions=4), find
    )


def test_a_conversation_with_two_audios_stop_regenerate_and_clear(start, slow_store, make_file, folder):
    one, two = make_file("one.wav", seconds=1.0), make_file("two.wav", seconds=0.8)
    url = start(slow_store)
    with opened_browser(one) as browser:
        me = Visitor(browser, url)
        me.attach(one, two)
        me.page.click(".prompts button")
        assert me.page.input_value("#question textarea") == "Which words are spoken?"
        me.page.press("#question textarea", "Enter")
        me.page.wait_for_selector(".answer.open")
        lengths = set()
        while me.page.locator(".answer.open").count():
            lengths.add(len(me.answers()[-1]))
            me.page.wait_for_timeout(60)
        assert len(lengths) > 3, "the answer did not grow"
        assert "answer 1 to 'Which words are spoken?' about 2 clips" in me.wait_for_answer()
        assert me.page.locator(".clip audio").count() == 2
        assert me.page.evaluate(
            "[...document.querySelectorAll('.mel img')].every(one => one.naturalHeight === 80)"
        )

        me.ask("And then?")
        me.page.wait_for_selector(".answer.open")
        me.page.wait_for_timeout(300)
        me.page.click("#stop")
        stopped = me.wait_for_answer()
        assert stopped.startswith("answer 2")
        assert "clips" not in stopped
        assert not me.page.is_visible("#stop")

        me.page.click("#regenerate")
        me.page.wait_for_function("document.querySelector('.turn:last-child').innerText.includes('answer 3')")
        assert "about 2 clips" in me.wait_for_answer()

        files = {path.name for path in folder.rglob("*") if path.is_file()}
        assert sum(name.endswith(".wav") for name in files) == 2, "uploads are deleted when they are sent"
        me.page.click("#clear")
        me.page.wait_for_selector(".start", state="visible")
        assert me.answers() == []
        assert not [path for path in folder.rglob("*") if path.is_file()]
        assert me.errors == []
        assert me.other_hosts() == []
        assert len(me.requests) > 20


def test_the_microphone_records_a_clip(start, folder, make_file):
    # Default limits: a recording is at 48 kHz, 94 KiB a second.
    url, path = start(SessionStore(TalkingChat, folder, Limits())), make_file("voice.wav", seconds=2.0)
    with opened_browser(path) as browser:
        me = Visitor(browser, url)
        me.page.click("#question .microphone-button")
        me.page.click("#question .record-button")
        me.page.wait_for_timeout(3000)
        picture(me, "recording")
        me.page.click("#question .stop-button")
        me.page.wait_for_selector("#question .confirm-button")
        picture(me, "recorded")
        me.page.click("#question .confirm-button")
        me.page.wait_for_selector("#question .thumbnail-item")
        me.page.click("#question .submit-button")
        assert "about 1 clips" in me.wait_for_answer()
        seconds = me.page.evaluate("document.querySelector('.clip audio').duration")
        assert 1 < seconds < 9
        assert me.other_hosts() == []
        assert me.errors == []


def test_a_found_word_is_highlighted_and_plays_its_span(start, slow_store, make_file):
    url, path = start(slow_store), make_file("one.wav", seconds=1.0)
    with opened_browser(path) as browser:
        me = Visitor(browser, url)
        me.attach(path)
        me.page.fill("#question textarea", "sells")
        me.page.click("#find")
        assert '"sells" occurs once in audio 1' in me.wait_for_answer()
        assert me.page.locator("button.span").count() == 2
        me.page.click("button.span.found")
        me.page.wait_for_function("document.querySelector('.clip audio').currentTime > 0.25")
        me.page.wait_for_function("document.querySelector('.clip audio').paused")
        ((position, _),) = me.players()
        assert 0.38 < position < 0.6, "it did not end with the word, which ends at 0.4 s"
        assert me.errors == []


def test_visitors_do_not_see_each_other_and_files_go_with_their_page(start, slow_store, make_file, folder):
    url, path = start(slow_store), make_file("one.wav")
    with opened_browser(path) as browser:
        one, two = Visitor(browser, url), Visitor(browser, url)
        one.attach(path)
        one.ask("Mine?")
        assert "'Mine?'" in one.wait_for_answer()
        two.ask("Yours?")
        assert "answer 1 to 'Yours?' about 0 clips" in two.wait_for_answer()
        assert [len(visitor.answers()) for visitor in (one, two)] == [1, 1]
        assert "Mine" not in two.page.content()
        two.attach(make_file("unsent.wav"))
        two.page.wait_for_timeout(500)
        assert [path.name for path in folder.rglob("unsent.wav")]
        for visitor in (one, two):
            visitor.context.close()
        end = time.monotonic() + 20
        while any(path.is_file() for path in folder.rglob("*")) or len(slow_store):
            assert time.monotonic() < end, [path for path in folder.rglob("*") if path.is_file()]
            time.sleep(0.2)


def test_unusable_uploads_are_refused_with_a_sentence(start, slow_store, make_file, tmp_path):
    url = start(slow_store)
    text, large = tmp_path / "notes.wav", make_file("large.wav", seconds=5)
    text.write_text("no audio")
    with opened_browser(large) as browser:
        me = Visitor(browser, url)
        me.attach(text)
        me.ask("Which?")
        me.page.wait_for_selector(".toast-wrap .toast-body")
        assert "notes.wav" in me.page.inner_text(".toast-wrap")
        assert me.answers() == []
        again = Visitor(browser, url)
        again.page.set_input_files("#question input[type=file]", str(large))
        again.page.wait_for_selector(".toast-wrap .toast-body")
        assert "maximum" in again.page.inner_text(".toast-wrap").lower()
        assert again.page.locator("#question .thumbnail-item").count() == 0


def test_the_page_fits_a_phone_in_both_themes(start, slow_store, make_file):
    url, path = start(slow_store), make_file("one.wav")
    with opened_browser(path) as browser:
        for scheme in ("light", "dark"):
            me = Visitor(browser, url, size=PHONE, scheme=scheme)
            me.attach(path)
            me.ask("Which sound is in this recording, and which word is spoken in it?")
            me.wait_for_answer()
            assert me.page.evaluate("document.documentElement.scrollWidth") == 390
            for name in ("#regenerate", "#clear", "#question .microphone-button", "#question .submit-button"):
                box = me.page.locator(name).bounding_box()
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= 390
                assert box["y"] + box["height"] <= 844
            is_dark = me.page.evaluate("document.body.classList.contains('dark')")
            assert is_dark == (scheme == "dark")
            picture(me, f"phone_{scheme}")
            me.page.click(".top button")
            assert me.page.evaluate("document.body.classList.contains('dark')") != is_dark


def test_a_password_opens_the_page(start, slow_store, make_file):
    url = start(slow_store, Address(port=0, password=PASSWORD))
    with opened_browser(make_file()) as browser:
        for name in ("", "config", "gradio_api/info", "theme.css", "gradio_api/heartbeat/x"):
            assert browser.new_context().request.get(f"{url}/{name}").status == 401
        me = Visitor(browser, url, http_credentials={"username": "me", "password": PASSWORD})
        me.ask("Which?")
        assert "answer 1" in me.wait_for_answer()


def test_a_trained_run_is_served_by_the_command(whole_run, make_file, tmp_path):
    require_browser()
    command = [
        sys.executable,
        "-m",
        "audio_lm.cli.main",
        "serve",
        whole_run.path,
        "--port",
        "0",
        "--max-new-tokens",
        "12",
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            url = server.stdout.readline().split()[0]
            with opened_browser(make_file()) as browser:
                me = Visitor(browser, url)
                me.attach(make_file("one.wav"), make_file("two.wav"))
                me.ask("Which sound is it?")
                assert me.wait_for_answer()
                assert not me.page.locator(".answer.failed").count()
                assert me.other_hosts() == []
        finally:
            server.terminate()
        assert server.wait(timeout=60) == 143
    assert not list(tmp_path.glob("audio-lm-serve-*"))
