import hashlib
import random
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.published import download as download_module
from audio_lm.corpora.published.download import Archive, download, unpack

CONTENT = bytes(range(256)) * 400


class BreakingServer(BaseHTTPRequestHandler):
    """Serve ``CONTENT`` with range requests; drop the connection half-way through a request without a range."""

    ranges: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:] if wanted else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *arguments: object) -> None:
        del arguments


@pytest.fixture
def start_server():
    """Function that starts a local HTTP server and returns its URL."""
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


def test_a_download_resumes_where_the_connection_dropped(start_server, tmp_path):
    BreakingServer.ranges.clear()
    url = start_server(BreakingServer)
    with pytest.raises(DataError, match="run the command again to resume"):
        download(Archive(url), tmp_path / "file", print, alternative="wait")
    assert not (tmp_path / "file").exists()
    assert download(Archive(url), tmp_path / "file", print, alternative="wait").read_bytes() == CONTENT
    assert BreakingServer.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_range_requests_is_read_from_the_start(start_server, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            del arguments

    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "content").write_bytes(CONTENT)
    (tmp_path / "file.part").write_bytes(b"half of something")
    url = start_server(partial(Quiet, directory=str(tmp_path / "here"))) + "/content"
    assert download(Archive(url), tmp_path / "file", print, alternative="wait").read_bytes() == CONTENT


def test_a_wrong_checksum_is_an_error_and_deletes_the_file(tmp_path):
    (tmp_path / "content").write_bytes(CONTENT)
    url = (tmp_path / "content").as_uri()
    right = Archive(url, md5=hashlib.md5(CONTENT).hexdigest(), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert download(right, tmp_path / "right", print, alternative="wait").read_bytes() == CONTENT
    with pytest.raises(DataError, match="md5"):
        download(Archive(url, md5="0" * 32), tmp_path / "wrong", print, alternative="wait")
    assert not list(tmp_path.glob("wrong*"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_unpacked_completely_or_not_at_all(tmp_path, kind):
    path = tmp_path / f"all.{kind}"
    (tmp_path / "content").write_bytes(CONTENT)
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "content", "inside/content")
    else:
        with tarfile.open(path, "w") as archive:
            archive.add(tmp_path / "content", "inside/content")
    assert (unpack(path, tmp_path / "here", print) / "inside" / "content").read_bytes() == CONTENT
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match="not a complete archive"):
        unpack(path, tmp_path / "there", print)
    assert not [path for path in tmp_path.iterdir() if "there" in path.name]


class Shown:
    """Progress that keeps its titles, totals and amounts."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}

    @contextmanager
    def __call__(self, title: str, *, total: int, what: str, min_total: int):
        assert (what, min_total) == ("MB", download_module.MIN_MEGABYTES)
        row = self.rows[title] = [total, 0]

        def advance(amount: int) -> None:
            row[1] += amount

        yield advance


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_the_progress_of_download_check_and_unpacking_ends_with_the_size_of_the_archive(
    tmp_path, monkeypatch, kind
):
    content = random.Random(0).randbytes(3_400_000)
    (tmp_path / "content").write_bytes(content)
    path = tmp_path / f"all.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "content", "inside/content")
    else:
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            archive.add(tmp_path / "content", "inside/content")
    shown = Shown()
    monkeypatch.setattr(download_module, "progress", shown)
    offered = Archive(path.as_uri(), md5=hashlib.md5(path.read_bytes()).hexdigest())
    copy = download(offered, tmp_path / "copy" / path.name, print, alternative="wait")
    assert (unpack(copy, tmp_path / "here", print) / "inside" / "content").read_bytes() == content
    assert shown.rows == {
        f"downloading {path.name}": [3, 3],
        f"checking {path.name}": [3, 3],
        f"unpacking {path.name}": [3, 3],
    }
