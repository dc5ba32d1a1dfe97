"""Command that scores open answers with another model."""

from pathlib import Path
from typing import Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries

Answers = Annotated[
    Path, typer.Argument(metavar="RUN|FILE", help="Run, evaluation, or file of questions and answers.")
]
Endpoint = Annotated[
    str | None,
    typer.Option(metavar="URL", help="OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1."),
]
JudgeName = Annotated[
    str, typer.Option("--judge", metavar="MODEL", help="Model; default the only one that the endpoint lists.")
]
KeyVariable = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Environment variable with the key; default AUDIO_LM_API_KEY."),
]
Benchmarks = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME,...", help="Of a run; default its conversations and questions in words."),
]
Export = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the requests, in the form of OpenAI's batches.")
]
Import = Annotated[
    list[Path] | None, typer.Option("--import", metavar="FILE", help="Read replies to exported requests.")
]
TimeOut = Annotated[float, typer.Option(min=1, help="Seconds after which a silent endpoint has failed.")]
Parallel = Annotated[int, typer.Option(min=1, help="Requests at a time.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder of the verdicts on a file; default NAME-judge beside it.")
]
DataDir = Annotated[str | None, typer.Option(help="Folder of cut-sets; default that of the run.")]


def judge(
    answers: Answers,
    endpoint: Endpoint = None,
    judge_name: JudgeName = "",
    benchmarks: Benchmarks = None,
    export: Export = None,
    imports: Import = None,
    timeout: TimeOut = 120.0,
    parallel: Parallel = 4,
    key_variable: KeyVariable = None,
    out: Out = None,
    data_dir: DataDir = None,
) -> None:
    """Score open answers with another model, which sees reference and answer in both orders; replies are kept.

    Examples: `audio-lm judge runs/demo-1a2b3c4d --endpoint http://127.0.0.1:8000/v1` ·
    `audio-lm judge runs/demo-1a2b3c4d --benchmarks dialogues_answer --endpoint https://api.openai.com/v1 --judge gpt-4o` ·
    `audio-lm judge Chat_result.jsonl --endpoint http://127.0.0.1:8000/v1` ·
    `audio-lm judge runs/demo-1a2b3c4d --export requests.jsonl --judge gpt-4o` ·
    `audio-lm judge runs/demo-1a2b3c4d --import replies.jsonl`
    """
    silence_libraries()
    from audio_lm.common.chat_endpoint import KEY_VARIABLE, EndpointConfig
    from audio_lm.run.judge import JudgeOptions
    from audio_lm.run.judge import judge as judge_answers

    config = None
    if endpoint is not None:
        config = EndpointConfig(
            endpoint, model=judge_name, timeout=timeout, key_variable=key_variable or KEY_VARIABLE
        )
    names = tuple(name.strip() for value in benchmarks or () for name in value.split(","))
    judge_answers(
        answers,
        JudgeOptions(names, judge_name, config, export, tuple(imports or ()), parallel, out, data_dir),
    )
