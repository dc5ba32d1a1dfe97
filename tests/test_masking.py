import pytest

from audio_lm.masking import masked, masked_tree, without_password

TOKENS = ("hf_" + "a" * 34, "sk-" + "b" * 40, "ghp_" + "c" * 36, "AKIA" + "D" * 16, "glpat-" + "e" * 20)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("a postgresql://u:p@h/db b", "a postgresql://h/db b"),
        ("http://u:p@ss@host:5000/x", "http://host:5000/x"),
        ("http://token@host", "http://host"),
        ("mail me@host", "mail me@host"),
        ("sqlite:////data/a@b/mlflow.db", "sqlite:////data/a@b/mlflow.db"),
    ],
)
def test_addresses_lose_their_password_only(address, shown):
    assert without_password(address) == shown


@pytest.mark.parametrize("token", TOKENS)
def test_what_looks_like_a_token_is_masked_wherever_it_stands(token):
    assert masked(f"a {token}, b") == "a ***, b"
    assert masked_tree({"note": [token]}) == {"note": ["***"]}


@pytest.mark.parametrize(
    "name", ["token", "api_key", "HF_TOKEN", "db_password", "aws_secret", "credentials", "secret"]
)
def test_settings_that_are_secrets_are_masked(name):
    assert masked_tree({"corpora": {"mine": {name: "abc"}}}) == {"corpora": {"mine": {name: "***"}}}
    assert masked(f"override '{name}=abc' is wrong") == f"override '{name}=***' is wrong"


@pytest.mark.parametrize(
    "setting",
    [
        {"pack_tokens": 300}, {"tokenizer": {"load": "a"}}, {"max_new_tokens": 4}, {"bos_token": "<s>"},
        {"num_key_value_heads": 2}, {"new_tokens": {"lr": 0.1}}, {"max_passes": {"a": 1}}, {"keys": "c major"},
    ],
)  # fmt: skip
def test_settings_that_only_sound_like_secrets_stay(setting):
    assert masked_tree(setting) == setting
