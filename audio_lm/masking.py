"""What must not be written down: passwords in addresses, tokens, settings that are secrets.

Whoever writes something for others to read (a recipe's copy, parameters, the
command line, the environment, a line on the console) lets it pass through here.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
PASSWORD_OF_ADDRESS = re.compile(r"(\w+://)[^/\s'\"]*@")
NAMES = (
    r"(?:token|(?:\w*_)?(?:(?:api|access|private|secret|account|signing)_?key"
    r"|(?:api|access|auth|hub|hf|github|refresh|session|bearer)_?token"
    r"|password|passwd|passphrase|secret|credentials?|jwt))"
)
SECRET_VARIABLE = re.compile(
    r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|USERNAME|JWT|SIGNATURE", re.IGNORECASE
)
SECRET_SETTING = re.compile(NAMES, re.IGNORECASE)
ASSIGNMENT = re.compile(rf"(?<![\w])({NAMES}=)[^\s&;,'\"`]+", re.IGNORECASE)
# Shapes that hubs and clouds give to their keys, so that scanners can find them.
TOKEN = re.compile(
    r"hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}"
    r"|xox[abprs]-[\w-]{10,}|\bA(?:KI|SI)A[0-9A-Z]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def harmless_variable(name: str, default: str | None = None) -> str | None:
    """What ``${oc.env:NAME}`` in a recipe stands for; one from elsewhere must not have secrets written down.

    Raises:
        ValueError: the name is that of a secret.
    """
    if SECRET_VARIABLE.search(name):
        raise ValueError(f"environment variable {name} sounds like a secret and is not put into recipes")
    return os.environ.get(name, default)


def without_password(text: str) -> str:
    """The text without the user part of addresses in it.

    >>> without_password("https://me:secret@host/repo")
    'https://host/repo'
    """
    return PASSWORD_OF_ADDRESS.sub(r"\1", text)


def masked(text: str) -> str:
    """A text for others to read.

    >>> masked("export HF_TOKEN=abc; curl https://me:secret@host?token=x seed=1")
    'export HF_TOKEN=***; curl https://host?token=*** seed=1'
    """
    return ASSIGNMENT.sub(rf"\g<1>{MASK}", TOKEN.sub(MASK, without_password(text)))


def masked_tree(tree: Any, name: str = "") -> Any:
    """A table of settings for others to read; keys that are names of secrets lose their text.

    >>> masked_tree({"uri": "http://me:secret@host", "hub": {"api_key": "abc"}, "pack_tokens": 5})
    {'uri': 'http://host', 'hub': {'api_key': '***'}, 'pack_tokens': 5}
    """
    if isinstance(tree, Mapping):
        return {key: masked_tree(value, str(key)) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(masked_tree(value, name) for value in tree)
    if isinstance(tree, str):
        return MASK if tree and SECRET_SETTING.fullmatch(name) else masked(tree)
    return tree
