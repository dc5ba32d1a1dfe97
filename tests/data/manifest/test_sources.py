import pytest

from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.sources import file_of

REFUSED = [
    ({"type": "command", "source": "touch {marker}"}, "could run a command"),
    ({"type": "url", "source": "http://127.0.0.1/a.wav"}, "could run a command"),
    ({"type": "file", "source": "pipe:touch {marker}"}, "could run a command"),
    ({"type": "file", "source": "touch {marker} |"}, "could run a command"),
    ({"type": "file", "source": "s3://bucket/a.wav"}, "download it"),
    ({"type": "memory", "source": "UklGRg=="}, "write files"),
    ({"type": "shar", "source": ""}, "not in a recording"),
    ({"type": "shar", "source": "/a.tar@0+" + "9" * 5000}, "not in a recording"),
    ({"type": ["file"], "source": "/a.wav"}, "could run a command"),
    ({"type": None, "source": "/a.wav"}, "could run a command"),
    ({"source": "/a.wav"}, "could run a command"),
    ({"type": "file", "source": ""}, "no file can have"),
    ({"type": "file", "source": "a\0.wav"}, "no file can have"),
    ({"type": "file", "source": "/" + "a" * 256}, "no file can have"),
    ({"type": "file", "source": "/" + "\u00e9" * 130}, "no file can have"),
    ({"type": "file", "source": "/a" * 3000}, "no file can have"),
    ({"type": "file", "source": ["/a.wav"]}, "expected a path"),
    ({"type": "file", "source": None}, "expected a path"),
    ({"type": "file"}, "expected a path"),
]


@pytest.mark.parametrize(("source", "why"), REFUSED)
def test_sources_that_are_not_files_are_refused(source, why):
    with pytest.raises(InvalidLineError, match=why):
        file_of(source)


def test_a_link_out_of_the_allowed_folders_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out.wav").touch()
    (tmp_path / "in" / "link.wav").symlink_to(tmp_path / "out.wav")
    (tmp_path / "in" / "loop.wav").symlink_to(tmp_path / "in" / "loop.wav")
    (tmp_path / "in-beside").mkdir()
    for inside in ("in/a.wav", "in/loop.wav", "in/../in/b.wav"):
        assert file_of({"type": "file", "source": str(tmp_path / inside)}, [tmp_path / "in"])
    for outside in ("in/link.wav", "in/../out.wav", "in-beside/a.wav"):
        with pytest.raises(InvalidLineError, match="lies outside"):
            file_of({"type": "file", "source": str(tmp_path / outside)}, [tmp_path / "in"])
    assert file_of({"type": "file", "source": str(tmp_path / "out.wav")}, [tmp_path / "in", tmp_path])
    assert file_of({"type": "file", "source": "/a.wav"}, ["/"])
