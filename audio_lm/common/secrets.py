"""Masking of secrets: passwords in URLs, access tokens, settings with the name of a secret.

All text that a run leaves for others is masked here first: the copy of the recipe,
MLflow parameters, the command line, the environment, messages on the console.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
PASSWORD_OF_ADDRESS = re.compile(
    r"(?<!\w)(\w{1,40}://)(?:[^/\s'\"]{0,2000}|[^/\s'\"@:]{0,200}:(?!\d+/)[^\s'\"@]{0,200})@"
)
NAMES = (
    r"(?:token|(?:\w*_)?(?:(?:api|access|private|secret|account|signing)_?key"
    r"|(?:api|access|auth|hub|hf|github|refresh|session|bearer|sas)_?token|credentials?|jwt)"
    r"|\w*(?:password|passwd|passphrase|secret|_pwd|sharedaccess_?key(?!name)|sharedaccess_?signature))"
)
SECRET_VARIABLE = re.compile(
    r"KEY|TOKEN|SECRET|PASS|_PWD|CREDENTIAL|AUTH|COOKIE|USERNAME|JWT|SIGNATURE|WEBHOOK|DSN|CONNECTION_?STR",
    re.IGNORECASE,
)
SECRET_SETTING = re.compile(
    rf"{NAMES}|pwd|authorization|cookie|(?:\w*_)?(?:webhook(?:_url)?|dsn|connection_?string)", re.IGNORECASE
)
VALUE = r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s&;'\"`]+)"
OPTION = (
    r"(?:password|passwd|passphrase|secret|credentials?|token"
    r"|(?:api|access|auth|hub|hf|github|bearer|secret|private)-?(?:token|key))"
)
ASSIGNMENTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<!\w)({NAMES}=){VALUE}",
        rf"(?<!\w)({NAMES}[\"']?\s*[:=]\s*)(?:\"[^\"\n]+\"|'[^'\n]+')",  # JSON, YAML and programs, in quotes
        rf"([;\s](?:pwd|uid)=){VALUE}(?=[;\s\"']|$)",  # of a connection string
        rf"(?<!\w)((?:REDISCLI_AUTH|SSHPASS|[A-Z]\w*_PASS)=){VALUE}",
        rf"([?&](?:sig|signature|key|code|x-(?:amz|goog)-(?:signature|credential|security-token))=){VALUE}",
        rf"((?:^|\s)--?{OPTION}(?:\s+|=)){VALUE}",
        rf"(\b(?:mysql|mysqldump|mysqladmin|mariadb|sshpass)\b[^\n|;&]{{0,200}}?\s-p)(?!\s){VALUE}",
        rf"(\bredis-cli\b[^\n|;&]{{0,200}}?\s-a\s+){VALUE}",
        rf"(\bcurl\b[^\n|;&]{{0,200}}?\s(?:-u|--user)[\s=]?){VALUE}",
        rf"(\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|token|digest)\s+)?){VALUE}",
        r"(\bbearer\s+)[\w.~+/-]{16,}=*",
        rf"(\b(?:x-)?(?:api|auth|access)-(?:key|token)[\"']?\s*[:=]\s*){VALUE}",
        r"(\b(?:set-)?cookie\s*:\s*)[^\s'\"][^'\"\n]*",
        # A webhook needs no password: its URL is the secret.
        r"(https?://(?:[^\s'\"/]{0,100}\bhooks?\.[^\s'\"/]{1,100}/|[^\s'\"/]{0,100}webhook[^\s'\"/]{0,100}/|api\.telegram\.org/bot"
        r"|[^\s'\"]{0,200}?/(?:web)?hooks?/))[^\s'\"]+",
    )
)
# Formats of keys of hubs and clouds, which are made to be found by scanners.
TOKEN = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bgl(?:pat|oas|dt|rt)-[\w-]{20,}"
    r"|\bxox[abeprs]-[\w-]{10,}|\bxapp-[\w-]{10,}|\bA(?:KI|SI)A[0-9A-Z]{16}\b|(?<![\w-])eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{30,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}"
    r"|\bdo[opr]_v1_[0-9a-f]{40,}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\b[spr]k_(?:live|test)_\w{10,}|\bwhsec_\w{20,}"
    r"|\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|\br8_\w{20,}|\bnvapi-[\w-]{20,}|\bgsk_\w{20,}|\bhv[sb]\.[\w-]{20,}|\bdapi[0-9a-f]{32}"
    r"|\b\d{8,10}:AA[\w-]{33}|\bkey-[0-9a-f]{32}\b|\bsq0(?:atp|csp)-[\w-]{20,}|\bAGE-SECRET-KEY-1\w{20,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def resolve_env(name: str, default: str | None = None) -> str | None:
    """Resolve ``${oc.env:NAME}`` in a recipe; secrets are refused, because the recipe is copied to the run.

    Raises:
        ValueError: the name is that of a secret.
    """
    if SECRET_VARIABLE.search(name):
        raise ValueError(
            f"environment variable {name} may be a secret by its name and is not read into recipes"
        )
    return os.environ.get(name, default)


def without_password(text: str) -> str:
    """Remove user and password from the URLs in a text.

    >>> without_password("https://me:secret@host/repo")
    'https://host/repo'
    """
    return PASSWORD_OF_ADDRESS.sub(r"\1", text)


def mask_secrets(text: str) -> str:
    """Mask passwords, tokens and assignments to secrets in a text.

    >>> mask_secrets("export HF_TOKEN=abc; curl https://me:secret@host?token=x seed=1")
    'export HF_TOKEN=***; curl https://host?token=*** seed=1'
    """
    text = TOKEN.sub(MASK, without_password(text))
    for assignment in ASSIGNMENTS:
        text = assignment.sub(rf"\g<1>{MASK}", text)
    return text


def mask_tree(tree: Any, name: str = "") -> Any:
    """Mask secrets in a nested table; a text under the name of a secret is masked as a whole.

    >>> mask_tree({"uri": "http://me:secret@host", "hub": {"api_key": "abc"}, "pack_tokens": 5})
    {'uri': 'http://host', 'hub': {'api_key': '***'}, 'pack_tokens': 5}
    """
    if isinstance(tree, Mapping):
        return {key: mask_tree(value, str(key)) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(mask_tree(value, name) for value in tree)
    if isinstance(tree, str):
        return MASK if tree and SECRET_SETTING.fullmatch(name) else mask_secrets(tree)
    return tree
