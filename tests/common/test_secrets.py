import time
from pathlib import Path

import pytest

from audio_lm.common.secrets import mask_secrets, mask_tree, without_password

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
def test_only_the_password_is_removed_from_a_url(address, shown):
    assert without_password(address) == shown


@pytest.mark.parametrize("token", TOKENS)
def test_an_access_token_is_masked_anywhere_in_a_text(token):
    assert mask_secrets(f"a {token}, b") == "a ***, b"
    assert mask_tree({"note": [token]}) == {"note": ["***"]}


@pytest.mark.parametrize(
    "name", ["token", "api_key", "HF_TOKEN", "db_password", "aws_secret", "credentials", "secret"]
)
def test_settings_with_the_name_of_a_secret_are_masked(name):
    assert mask_tree({"corpora": {"mine": {name: "abc"}}}) == {"corpora": {"mine": {name: "***"}}}
    assert mask_secrets(f"override '{name}=abc' is wrong") == f"override '{name}=***' is wrong"


@pytest.mark.parametrize(
    "setting",
    [
        {"pack_tokens": 300}, {"tokenizer": {"load": "a"}}, {"max_new_tokens": 4}, {"bos_token": "<s>"},
        {"num_key_value_heads": 2}, {"new_tokens": {"lr": 0.1}}, {"max_epochs": {"a": 1}}, {"keys": "c major"},
    ],
)  # fmt: skip
def test_settings_with_similar_names_are_not_masked(setting):
    assert mask_tree(setting) == setting


# Concatenated at run time, so that secret scanners do not report this file.
SHAPES = (
    "npm_" + "a" * 36, "pypi-" + "AgEI" * 12, "AIza" + "b" * 35, "dop_v1_" + "c0" * 32, "SG." + "d" * 22 + "." + "e" * 43,
    "sk_live_" + "f" * 24, "rk_test_" + "g" * 24, "shpat_" + "0a" * 16, "ya29." + "h" * 40, "GOCSPX-" + "i" * 28,
    "xapp-1-" + "A" * 20, "r8_" + "j" * 37, "gsk_" + "k" * 52, "hvs." + "l" * 30, "dapi" + "0b" * 16,
    "123456789:AA" + "m" * 33, "nvapi-" + "n" * 60, "eyJ" + "o" * 20 + "." + "p" * 20 + "." + "q" * 20,
)  # fmt: skip


@pytest.mark.parametrize("token", SHAPES)
def test_keys_of_other_services_are_masked(token):
    assert mask_secrets(f"a {token}, b") == "a ***, b"


@pytest.mark.parametrize(
    "text",
    [
        "postgres://u:hunter2@h/db", "mongodb+srv://u:hunter2@h/?retry=1", "redis://:hunter2@h:6379/0", "amqp://u:x/hunter2@h",
        "Server=db;User Id=u;Password=hunter2;Encrypt=yes", "Server=db;Uid=u;Pwd=hunter2;", "host=h password=hunter2 dbname=d",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2==;EndpointSuffix=x",
        "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=hunter2=", "https://a.blob.core.windows.net/c?sv=1&sig=hunter2%3D",
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2&x=1",
        "https://hooks.slack.com/services/T0/B0/hunter2", "https://discord.com/api/webhooks/1/hunter2",
        "https://x.webhook.office.com/webhookb2/hunter2", "https://api.telegram.org/bot1:hunter2/sendMessage",
        "https://open.feishu.cn/open-apis/bot/v2/hook/hunter2", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=hunter2",
        "PGPASSWORD=hunter2 psql -h db", "PGPASSWORD='hunter2 x' psql", "MYSQL_PWD=hunter2 mysql",
        "REDISCLI_AUTH=hunter2 redis-cli",
        "DB_PASS=hunter2 run", "mysql -u root -phunter2 db", "redis-cli -h x -a hunter2", "curl -u me:hunter2 http://h",
        "curl --user me:hunter2 http://h", "tool --password hunter2", "tool --password=hunter2", "tool --api-key hunter2 x",
        "tool --token 'hunter2 x'", "Authorization: Bearer hunter2", "-H 'Authorization: Basic hunter2=='",
        '{"Authorization": "token hunter2"}', "x-api-key: hunter2", "Cookie: session=hunter2; a=b", '"password": "hunter2"',
        "api_key = 'hunter2'", "client_secret=hunter2", "token=hunter2,x", "Bearer hunter2hunter2hunter2",
    ],
)  # fmt: skip
def test_a_secret_is_masked_in_all_common_notations(text):
    assert "hunter2" not in mask_secrets(text)
    assert "hunter2" not in mask_secrets(f"line before\n  {text}\nline after")


@pytest.mark.parametrize("folder", ["conf", "recipes"])
def test_the_shipped_recipes_are_not_masked(folder):
    for path in sorted((Path(__file__).parents[2] / folder).rglob("*.yaml")):
        assert mask_secrets(path.read_text()) == path.read_text(), path


@pytest.mark.parametrize(
    "text",
    [
        "stages.chat.pack_tokens=300", "max_new_tokens=4", "eos_token: '<s>'", "pack_tokens: 4096", "bypass=1", "passes=3",
        "audio-lm train demo --out=runs/a", "mkdir -p folder; curl -o file http://h", "PWD=/work cd x", "hardware.devices=2",
        "https://github.com/a/b", "http://host:5000/me@x", "key signature: c major", "tokenizer.load=a", "git -c user.name=n",
        "num_key_value_heads=2", "basic settings of the authorization", "mysql server on port 3306", "2024-01-01T10:00:00",
    ],
)  # fmt: skip
def test_a_text_without_secrets_is_unchanged(text):
    assert mask_secrets(text) == text


@pytest.mark.parametrize(
    "text", ["a_" * 50_000, "mysql " * 20_000, "http://" * 20_000, "eyJ-" * 20_000, "x://a:" * 20_000]
)
def test_masking_is_fast_for_adversarial_texts(text):
    start = time.perf_counter()
    mask_secrets(text)
    assert time.perf_counter() - start < 5
