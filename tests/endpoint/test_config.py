"""Address of an endpoint."""

import pytest

from audio_lm.common.chat_endpoint import KEY_VARIABLE
from audio_lm.common.errors import UserError
from audio_lm.endpoint.config import ServeConfig, key_from_environment


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "my-machine", ""])
def test_another_address_needs_a_key(host):
    with pytest.raises(UserError, match=f"export {KEY_VARIABLE}"):
        ServeConfig(host)
    assert not ServeConfig(host, key="secret").is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_needs_none(host):
    assert ServeConfig(host).is_loopback


def test_a_port_has_16_bits():
    with pytest.raises(UserError, match="expected 0 to 65535"):
        ServeConfig(port=65_536)


def test_the_key_is_not_shown(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, " secret-7 ")
    assert key_from_environment() == "secret-7"
    assert "secret-7" not in repr(ServeConfig(key="secret-7"))
