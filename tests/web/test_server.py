import asyncio
import os
import re
import signal
import socket
import tempfile

import pytest

from audio_lm.common.errors import UserError
from audio_lm.web.limits import Limits
from audio_lm.web.prompts import ExamplePrompt
from audio_lm.web.server import Address, Site, bind, build_app, serve
from tests.web.conftest import TalkingChat, answer_of

httpx = pytest.importorskip("httpx")
pytest.importorskip("gradio")


@pytest.fixture
def app(store, folder, monkeypatch):
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")  # restored afterwards
    site = Site("tiny <model>", prompts=(ExamplePrompt("asr", "Transcribe <it>"),))
    return build_app(store, site, folder, Address())


def get(app, *paths, **options):
    async def send():
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:7860"
        ) as client:
            return [await client.get(path, **options) for path in paths]

    return asyncio.run(send())


def test_the_page_names_no_other_host_that_a_browser_would_open(app):
    (page,) = get(app, "/")
    assert page.status_code == 200
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"'](https?://[^\"']*)", page.text)
    assert loaded == []
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "audioLmShow" in page.text
    config = get(app, "/config")[0].json()
    assert config["analytics_enabled"] is False
    assert not config.get("run_history")
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_a_clip_is_served_by_its_random_name_until_its_session_ends(app, store, make_file, folder):
    session = store.open("a")
    session.add_question("Which?", [make_file()])
    answer_of(session)
    (clip,) = session.turns[0].clips
    secret = folder / "secret.wav"
    secret.write_bytes(b"secret")
    names = (f"{clip.token}.wav", f"{clip.token}.png", f"{'0' * 32}.wav", "..%2Fsecret.wav", "secret.wav")
    assert [answer.status_code for answer in get(app, *(f"/clips/{name}" for name in names))] == [
        200,
        200,
        404,
        404,
        404,
    ]
    (part,) = get(app, f"/clips/{clip.token}.wav", headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    store.close("a")
    assert get(app, f"/clips/{clip.token}.wav")[0].status_code == 404


def test_the_end_by_a_signal_deletes_all_files(tmp_path, monkeypatch):
    import uvicorn

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")  # restored afterwards
    seen = []

    def run(server, sockets):
        (folder,) = tmp_path.glob("audio-lm-serve-*")
        (folder / "uploads").mkdir()
        (folder / "uploads" / "one.wav").write_text("audio")
        seen.append(folder.stat().st_mode & 0o777)
        signal.raise_signal(signal.SIGTERM)  # as uvicorn does at its end

    monkeypatch.setattr(uvicorn.Server, "run", run)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with bind(Address(port=0)) as opened, pytest.raises(SystemExit, match="143"):
            serve(TalkingChat, Site("tiny"), opened, Address(), Limits())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [0o700]
    assert not list(tmp_path.iterdir())


def test_files_of_the_machine_are_not_served(app):
    answers = get(app, "/gradio_api/file=/etc/passwd", f"/gradio_api/file={__file__}", "/docs")
    assert all(answer.status_code in (403, 404) for answer in answers), [one.status_code for one in answers]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_another_address_needs_a_password(host):
    with pytest.raises(UserError, match="expected a password"):
        Address(host)
    assert not Address(host, password="long enough").is_loopback


def test_settings_of_an_address_are_checked(tmp_path):
    with pytest.raises(UserError, match="the password has 5 characters -- expected at least 8") as error:
        Address(password="short")
    assert "short" not in str(error.value).replace("shorter", "")
    with pytest.raises(UserError, match=r"gone\.pem is missing"):
        Address(certificate=tmp_path / "gone.pem")
    assert Address("::1").url(80) == "http://[::1]:80"
    assert "secret password" not in repr(Address(password="secret password"))


def test_a_port_in_use_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1 port {port} cannot be opened"):
            bind(Address(port=port))
    with (
        bind(Address(port=0)) as opened,
        socket.create_connection(opened.getsockname(), timeout=5),
        pytest.raises(UserError, match="cannot be opened"),
    ):
        bind(Address(port=opened.getsockname()[1]))
    with pytest.raises(UserError, match="expected an address of this machine"):
        bind(Address("no.such.host.invalid", password="long enough"))


def test_limits_reach_gradio(app, store):
    config = get(app, "/config")[0].json()
    assert config["max_file_size"] == Limits().upload_bytes == store.limits.upload_bytes
