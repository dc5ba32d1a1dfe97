"""Tokenize captions like the captioning benchmarks.

Caption metrics are defined on the tokens of Stanford's PTBTokenizer, lower case and without punctuation. PTBTokenizer
is a Java program; this module reproduces its output for English captions.

Source: pycocoevalcap 1.2, tokenizer/ptbtokenizer.py (corenlp 3.4.1). Its list of
punctuation has the brackets in upper case, so that ``-lrb-`` survives.
"""

import re

PUNCTUATION = frozenset(["''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";"])
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
AS_ASCII = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": " -- ", "—": " -- ", "…": " ... "})
ABBREVIATIONS = "mr|mrs|ms|dr|st|vs|etc|inc|ltd|co|corp|jr|sr|prof|gen|mon|jan|feb|aug|sept|oct|nov|dec"

TOKEN = re.compile(
    rf"""
      (?:https?://|www\.)[^\s,;!?"]*\w                      # a URL
    | (?:[^\W\d_]\.)+(?!\w)                                 # an initial, u.s.
    | (?:{ABBREVIATIONS})\.(?!\w)
    | '(?:n'|(?:til|em|\d0s|s|m|d|re|ve|ll)\b)              # contractions with a leading apostrophe
    | (?<![\w.])[-+]?(?:\d[\d,.:/]*\d|\d|\.\d+)(?![\w'-])   # a number
    | \w+(?:[-/._+'@&]+\w+)*                                # a word
    | [?!]{{2,}} | \.{{2,}} | -{{2,}} | \S
    """,
    re.VERBOSE,
)
CLITIC = re.compile(r"(.*?)(n't|'(?:s|m|d|re|ve|ll))$")
TWO_WORDS = {
    "cannot": "can not",
    "gonna": "gon na",
    "gotta": "got ta",
    "wanna": "wan na",
    "gimme": "gim me",
    "lemme": "lem me",
}


def caption_words(text: str) -> list[str]:
    """Tokens of a caption.

    >>> caption_words("A man's high-pitched voice (far away) can't stop, etc.")
    ['a', 'man', "'s", 'high-pitched', 'voice', '-lrb-', 'far', 'away', '-rrb-', 'ca', "n't", 'stop', 'etc.']
    """
    words: list[str] = []
    for match in TOKEN.finditer(text.translate(AS_ASCII).lower()):
        token = match[0]
        words += _split_clitics(TWO_WORDS.get(token, BRACKETS.get(token, token)))
    return [word for word in words if word not in PUNCTUATION]


def _split_clitics(token: str) -> list[str]:
    clitics: list[str] = []
    while (match := CLITIC.match(token)) and match[1]:
        token = match[1]
        clitics.insert(0, match[2])
    return [*token.split(), *clitics]
