import pytest

from audio_lm.cli import serve_page
from audio_lm.cli.serve_page import PASSWORD_VARIABLE, read_password
from audio_lm.common.errors import UserError
from tests.cli.command import run


def test_the_password_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert read_password(None) is None
    monkeypatch.setenv(PASSWORD_VARIABLE, "from the environment")
    assert read_password(None) == "from the environment"
    path = tmp_path / "password"
    path.write_text("from a file\n")
    assert read_password(path) == "from a file"
    path.write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        read_password(path)


def test_the_password_is_never_printed(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret1")
    assert run("serve", tmp_path, "--port", 0) == 2
    output = capfd.readouterr()
    assert "7 characters" in output.err
    assert "secret1" not in output.err + output.out


def test_a_model_without_conversations_is_refused(whole_run, capfd, monkeypatch):
    pytest.importorskip("gradio")
    assert run("serve", whole_run.path, "--port", 0, "--stage", "pretrain") == 2
    assert "expected chatml, the format of conversations" in capfd.readouterr().err


def test_the_page_of_a_run_has_its_model_limits_and_options(whole_run, capfd, monkeypatch):
    pytest.importorskip("gradio")
    served = []

    def keep(new_chat, site, opened, address, limits):
        served.append((new_chat(), site, limits))
        opened.close()

    monkeypatch.setattr("audio_lm.web.server.serve", keep)
    options = ["--max-upload", 2, "--max-sessions", 3, "--long-audio", "chunk", "--max-new-tokens", 4]
    assert run("serve", whole_run.path, "--port", 0, *options) == 0
    assert "http://127.0.0.1:" in capfd.readouterr().out
    ((chat, site, limits),) = served
    assert (limits.upload_mib, limits.num_sessions, limits.long_audio) == (2, 3, "chunk")
    assert site.title == f"{whole_run.path}, stage chat"
    assert len("".join(chat.send("one"))) >= 0
    assert chat.options.max_new_tokens == 4
    assert serve_page.HOST == "127.0.0.1"
