import tarfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from audio_lm.corpora.fsdd_source import downloaded, recordings
from audio_lm.errors import DataError

CONTENT = bytes(range(256)) * 400


class GoesOn(BaseHTTPRequestHandler):
    """Serves ``CONTENT`` and knows ranges; breaks off the first answer half-way."""

    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:] if wanted else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *arguments: object) -> None:
        del arguments


@pytest.fixture
def served():
    """Start a server on this machine; gives its address."""
    servers = []

    def serve(handler) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def archive_of(folder, path):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "free-spoken-digit-dataset-master/recordings")
    return path


def test_a_download_goes_on_where_it_broke_off(served, tmp_path):
    GoesOn.asked.clear()
    url = served(GoesOn)
    with pytest.raises(DataError, match="start again to go on"):
        downloaded(url, tmp_path / "file", print)
    assert not (tmp_path / "file").exists()
    assert downloaded(url, tmp_path / "file", print).read_bytes() == CONTENT
    assert GoesOn.asked == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_is_asked_from_the_start(served, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            del arguments

    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "content").write_bytes(CONTENT)
    (tmp_path / "file.part").write_bytes(b"half of something")
    url = served(partial(Quiet, directory=str(tmp_path / "here"))) + "/content"
    assert downloaded(url, tmp_path / "file", print).read_bytes() == CONTENT


def test_folder_and_archive_hold_the_same_recordings(spoken_digits, tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIO_LM_DATA", raising=False)
    archive = archive_of(spoken_digits, tmp_path / "all.tar.gz")
    from_folder = recordings(str(spoken_digits), "", tmp_path, print)
    from_archive = recordings("", archive.as_uri(), tmp_path / "downloads", print)
    assert [one[:3] for one in from_folder] == [one[:3] for one in from_archive]
    assert all((a.wave == b.wave).all() for a, b in zip(from_folder, from_archive, strict=True))
    assert from_folder[0][:3] == (0, "george", 0)


def test_shared_recordings_are_read_and_nothing_is_downloaded(spoken_digits, tmp_path, monkeypatch):
    (tmp_path / "fsdd").symlink_to(spoken_digits)
    monkeypatch.setenv("AUDIO_LM_DATA", str(tmp_path))
    assert len(recordings("", "file:///nowhere", tmp_path / "downloads", print)) == 81
    assert not (tmp_path / "downloads").exists()


def test_a_missing_source_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIO_LM_DATA", raising=False)
    with pytest.raises(DataError, match="set AUDIO_LM_DATA"):
        recordings("", (tmp_path / "none.tar.gz").as_uri(), tmp_path / "downloads", print)
    with pytest.raises(DataError, match="is not a folder"):
        recordings(str(tmp_path / "none"), "", tmp_path, print)
    with pytest.raises(DataError, match="holds no recordings"):
        recordings(str(tmp_path), "", tmp_path, print)


def test_a_broken_recording_is_named(tmp_path):
    (tmp_path / "0_theo_0.flac").write_bytes(b"no audio")
    with pytest.raises(DataError, match=r"0_theo_0\.flac"):
        recordings(str(tmp_path), "", tmp_path, print)


def test_half_an_archive_is_named(spoken_digits, tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIO_LM_DATA", raising=False)
    path = archive_of(spoken_digits, tmp_path / "fsdd.tar.gz")
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"fsdd\.tar\.gz is not a whole archive"):
        recordings("", "", tmp_path, print)
