"""Questions for a judge as a file, and its replies from one, for machines without an endpoint.

The file has the form of OpenAI's batches, which vLLM reads too (``vllm run-batch``). Replies are matched by a hash of the
prompt, so those to other answers are recognised; equal prompts are written once.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.common.files import atomic_write
from audio_lm.evaluation.judge.ask import SAMPLING, JudgeRequest, requests_of
from audio_lm.evaluation.judge.prompts import Scores, scores_in
from audio_lm.evaluation.judge.questions import OpenQuestion
from audio_lm.evaluation.judge.verdicts import Verdict

PATH = "/v1/chat/completions"
DIGITS = 32  # of the hash


def custom_id(request: JudgeRequest) -> str:
    """Hash of a request's prompt, and its order."""
    digest = hashlib.sha256(json.dumps(request.messages).encode()).hexdigest()[:DIGITS]
    return f"{digest}-{request.order}"


def export_requests(path: Path, questions: Sequence[OpenQuestion], *, judge: str) -> int:
    """Write all requests, one per line; returns their number.

    Args:
        questions: of all benchmarks; equal prompts are one request.
        judge: name of the model that will answer them.
    """
    requests = {custom_id(request): request for request in requests_of(questions)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        for key, request in requests.items():
            body = {"model": judge, "messages": request.messages, **SAMPLING.as_request()}
            row = {"custom_id": key, "method": "POST", "url": PATH, "body": body}
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
    return len(requests)


def import_replies(
    paths: Sequence[Path], benchmarks: Mapping[str, Sequence[OpenQuestion]], *, judge: str
) -> tuple[dict[str, list[Verdict]], int]:
    """Read replies: the output of a batch, or lines with ``custom_id`` and ``reply`` or ``scores``.

    Args:
        benchmarks: name -> questions.
        judge: name of the model, for lines that do not state it.

    Returns:
        The verdicts of each benchmark, and the number of lines about other questions or answers.

    Raises:
        DataError: a line is no reply, two lines are about the same request, or none is about these questions.
    """
    known: dict[str, list[tuple[str, JudgeRequest]]] = defaultdict(list)
    for name, questions in benchmarks.items():
        for request in requests_of(questions):
            known[custom_id(request)].append((name, request))
    verdicts: dict[str, list[Verdict]] = {name: [] for name in benchmarks}
    seen: set[str] = set()
    num_other = 0
    for place, row in (each for path in paths for each in _rows(path)):
        key = row.get("custom_id")
        if not isinstance(key, str):
            raise DataError(
                f"{place}: no custom_id -- expected that of the exported request -- keep it in the file of replies"
            )
        if key in seen:
            raise DataError(
                f"{place}: custom_id {key!r} occurs twice -- expected one reply to each request -- remove one"
            )
        seen.add(key)
        num_other += key not in known
        for name, request in known.get(key, ()):
            verdicts[name].append(_verdict(place, row, request, judge))
    if not any(verdicts.values()):
        raise DataError(
            f"none of {num_other} replies is to these questions and answers -- expected replies to requests exported with "
            f"them -- export again after each evaluation"
        )
    return verdicts, num_other


def _rows(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    rows: list[tuple[str, Mapping[str, Any]]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}) -- expected JSON Lines -- correct the path"
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number}: no JSON ({error}) -- expected a reply -- repair the line"
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path}:{number}: {line[:40]!r} is no reply -- expected an object -- repair the line"
            )
        rows.append((f"{path}:{number}", row))
    return rows


def _verdict(place: str, row: Mapping[str, Any], request: JudgeRequest, judge: str) -> Verdict:
    scores, reply, name = row.get("scores"), row.get("reply"), row.get("judge")
    if scores is not None:
        reply = " ".join(map(str, scores)) if isinstance(scores, list) else str(scores)
    if reply is None:
        try:
            body = row["response"]["body"]
            reply, name = body["choices"][0]["message"]["content"] or "", body.get("model")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise DataError(
                f"{place}: neither reply, scores nor response.body -- expected one of them -- leave out requests that failed"
            ) from error
    name = name or judge
    if not name:
        raise DataError(
            f"{place}: no name of the judge -- expected one, because scores depend on it -- give --judge NAME"
        )
    found: Scores | None = scores_in(str(reply), request.order)
    return Verdict(request.question.id, request.order, str(name), str(reply), found)
