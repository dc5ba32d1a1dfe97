"""Rows of dialogues and pairs written by a language model behind an endpoint, from the labels of clips alone.

The model gets the facts of one to three clips and returns turns, each with the facts that it used. A row is kept only if
every answer contains the value of a fact that it cites. Prompt, answer and model are recorded in the row.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from audio_lm.common.chat_endpoint import ChatEndpoint, Sampling
from audio_lm.corpora.imports.common import Row as CheckedRow
from audio_lm.corpora.imports.conversations import escape_placeholders
from audio_lm.corpora.imports.dialogue_rows import check_dialogue
from audio_lm.corpora.synthesis.templates import Row, SynthesisConfig, reference
from audio_lm.corpora.synthetic.known_clips import KnownClip, Pools, choose_clip, choose_question
from audio_lm.corpora.synthetic.split_random import SplitRandom

MAX_TOKENS = 1000
TEMPERATURE = 0.7
MAX_TURNS = 3
AT_ONCE = 64  # requests that are prepared together

INSTRUCTIONS = """You write training data for a model that listens to audio. You get the known facts about clips, as JSON.
Write a dialogue of the given number of exchanges: a user's questions about the clips, and an assistant's answers.
Use the facts only: every answer has to contain the value of at least one fact literally, and must not add anything that
the facts do not state. With several clips, call them audio 1, audio 2 and so on, compare them, or return to an earlier one.
Vary the wording. Answer with JSON alone:
{"turns": [{"user": "...", "assistant": "...", "facts": [["audio 1", "language"]]}]}"""
WITH_REJECTED = """
Add the key "rejected": the last answer again with exactly one fact wrong, everything else unchanged."""


class Request(NamedTuple):
    """Prompt of one row."""

    clips: Sequence[KnownClip]
    facts: Mapping[str, Mapping[str, str]]
    messages: Sequence[Mapping[str, str]]
    is_pair: bool


class RowsByModel:
    """Rows from the answers of a model; those that cannot be used are counted by reason."""

    def __init__(self, endpoint: ChatEndpoint, pools: Pools, config: SynthesisConfig, split: str) -> None:
        self._endpoint = endpoint
        self._pools = pools
        self._config = config
        self._split = split
        self.num_refused: dict[str, int] = {}

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in the order of their numbers; answers of an earlier run come from the cache.

        Raises:
            EndpointError: the endpoint does not answer.
        """
        for start in range(0, self._config.num_rows, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, self._config.num_rows))
            requests = [self.request(number) for number in numbers]
            sampling = Sampling(MAX_TOKENS, TEMPERATURE, seed=self._config.seed)
            replies = self._endpoint.answer_all([request.messages for request in requests], sampling)
            for number, request, reply in zip(numbers, requests, replies, strict=True):
                made = {"by": reply.model, "prompt": list(request.messages), "answer": reply.text}
                row, reason = row_of(request, reply.text)
                if row is None:
                    self.num_refused[reason] = self.num_refused.get(reason, 0) + 1
                else:
                    yield {"id": f"dialogue-{number:06d}", **row, "made": made}

    def request(self, number: int) -> Request:
        """Clips and prompt of a row."""
        random = SplitRandom(self._split, self._config.seed, "synthesis by model", number)
        is_pair = random.bernoulli(self._config.pairs)
        num_clips = random.integer(2, 3) if random.bernoulli(self._config.several) else 1
        clips = [
            choose_clip(self._pools, choose_question(self._pools, random), random) for _ in range(num_clips)
        ]
        facts = {f"audio {place}": dict(_facts(clip, self._pools)) for place, clip in enumerate(clips, 1)}
        wanted = {"clips": facts, "exchanges": random.integer(1, MAX_TURNS)}
        messages = [
            {"role": "system", "content": INSTRUCTIONS + (WITH_REJECTED if is_pair else "")},
            {"role": "user", "content": json.dumps(wanted, ensure_ascii=False)},
        ]
        return Request(clips, facts, messages, is_pair)


def row_of(request: Request, answer: str) -> tuple[Row | None, str]:
    """Row of a model's answer; None and the reason if it cannot be used."""
    try:
        table = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
        exchanges = [(turn["user"], turn["assistant"], turn.get("facts")) for turn in table["turns"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, "is no JSON of the requested form"
    if not exchanges or not all(isinstance(text, str) for pair in exchanges for text in pair[:2]):
        return None, "is no JSON of the requested form"
    for _, reply, cited in exchanges:
        if not _is_grounded(reply, cited, request.facts):
            return None, "contains no value of a fact it cites"
    rejected = table.get("rejected")
    if request.is_pair and (not isinstance(rejected, str) or rejected.strip() == exchanges[-1][1].strip()):
        return None, "has no rejected answer that differs"
    turns: list[dict[str, Any]] = []
    for user, reply, _ in exchanges:
        turns.append({"role": "user", "content": escape_placeholders(user)})
        turns.append({"role": "assistant", "content": escape_placeholders(reply)})
    turns[0]["content"] = "<audio>" * len(request.clips) + turns[0]["content"]
    if request.is_pair:
        turns[-1]["rejected"] = rejected
    row = {"audios": [reference(clip) for clip in request.clips], "turns": turns}
    checked = CheckedRow({**row, "turns": [CheckedRow(turn) for turn in turns]})
    faults = check_dialogue(checked)[1]
    return (None, f"has a fault: {faults[0]}") if faults else (row, "")


def _facts(clip: KnownClip, pools: Pools) -> Iterator[tuple[str, str]]:
    for name in pools.table.names_for(clip):
        yield name.replace("_", " "), clip.answers[name]


def _is_grounded(answer: str, cited: Any, facts: Mapping[str, Mapping[str, str]]) -> bool:
    """True if an answer contains the value of a fact that it cites, and cites existing ones only."""
    try:
        values = [facts[str(audio).lower()][str(name)] for audio, name in cited]
    except (KeyError, TypeError, ValueError):
        return False
    return any(value.casefold() in answer.casefold() for value in values)
