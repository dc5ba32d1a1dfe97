"""Command for a conversation with a model, about any number of clips."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import TrustCode, paused_gc
from audio_lm.common.errors import UserError, unknown

if TYPE_CHECKING:
    from audio_lm.chat.conversation import ChatOptions, Conversation

LONG_AUDIO = ("error", "truncate", "chunk")
Model = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", help="Run, exported or published model folder, or a hub name."),
]
Clips = Annotated[list[Path] | None, typer.Option(help="Clip of the first message; may be repeated.")]
Temperature = Annotated[float, typer.Option(help="0 takes the most probable token.")]
TopK = Annotated[int | None, typer.Option(help="Draw from this many most probable tokens.")]
TopP = Annotated[float, typer.Option(help="Draw from the tokens with this probability together.")]
Seed = Annotated[int, typer.Option(help="Seed of the draws.")]
Stop = Annotated[list[str] | None, typer.Option(help="Text that ends an answer; may be repeated.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")]
LongAudio = Annotated[
    str | None,
    typer.Option(
        help="A clip over 30 s: error, truncate to its first 30 s, or chunk into several; default the rule of the training."
    ),
]
Channel = Annotated[str, typer.Option(help="For multi-channel audio: average, left or right.")]
Stage = Annotated[
    str | None,
    typer.Option(help="Stage of a run; default the last that was trained with conversations."),
]
Endpoint = Annotated[
    str | None, typer.Option(help="OpenAI-compatible endpoint instead of a model in this process.")
]
Name = Annotated[str, typer.Option(help="Name of the endpoint's model; default the only one that it lists.")]


def chat(
    model: Model = None,
    audio: Clips = None,
    temperature: Temperature = 0.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    stop: Stop = None,
    max_new_tokens: MaxNewTokens = 256,
    long_audio: LongAudio = None,
    channel: Channel = "average",
    stage: Stage = None,
    endpoint: Endpoint = None,
    name: Name = "",
    trust_code: TrustCode = False,
) -> None:
    r"""Talk with a model about clips; earlier turns are not processed again.

    Lines of stdin are messages and commands, so that a conversation can be scripted; the answers, and nothing else, are printed
    to stdout. /help lists the commands.

    Examples: `audio-lm chat runs/demo-1a2b3c4d` · `audio-lm chat Qwen2-Audio-7B-Instruct --temperature 0.7 --top-p 0.9` ·
    `printf '/audio a.wav\nWho speaks?\n' | audio-lm chat runs/demo-1a2b3c4d` · `audio-lm chat --endpoint http://127.0.0.1:8000/v1`
    """
    silence_libraries()
    if (model is None) == (endpoint is None):
        given = "both MODEL and --endpoint are" if endpoint else "neither MODEL nor --endpoint is"
        raise UserError(f"{given} given -- expected one of them; name a run, or an endpoint")
    if long_audio is not None and long_audio not in LONG_AUDIO:
        raise UserError(unknown("--long-audio", long_audio, LONG_AUDIO, see="audio-lm chat --help"))
    with paused_gc():
        from audio_lm.chat.conversation import ChatOptions
        from audio_lm.model.decoder.sampling import SamplingConfig

        options = ChatOptions(
            max_new_tokens,
            SamplingConfig(temperature, top_k, top_p, seed),
            tuple(stop or ()),
            long_audio,  # type: ignore[arg-type]  # checked above
            channel,
        )
        if endpoint is not None:
            conversation = _open_endpoint(endpoint, name, options)
        else:
            conversation = _open_model(str(model), stage, options, trusts_code=trust_code)
    _talk(conversation, [str(path) for path in audio or ()])


def _open_model(
    model: str, stage: str | None, options: "ChatOptions", *, trusts_code: bool
) -> "Conversation":
    from audio_lm.chat.session import ChatSession, open_chat_model

    return ChatSession(open_chat_model(model, stage=stage, trusts_code=trusts_code), options)


def _open_endpoint(url: str, name: str, options: "ChatOptions") -> "Conversation":
    from audio_lm.chat.remote import RemoteConversation
    from audio_lm.common.chat_endpoint import ChatEndpoint, EndpointConfig

    return RemoteConversation(ChatEndpoint(EndpointConfig(url, name)), options)


def _talk(conversation: "Conversation", clips: list[str]) -> None:
    from rich.console import Console

    from audio_lm.chat.terminal import Terminal

    is_interactive = sys.stdin.isatty()
    terminal = Terminal(conversation, sys.stdout, Console(stderr=True), is_interactive=is_interactive)
    for path in clips:
        terminal.add_audio(path)
    terminal.run(terminal.read_lines() if is_interactive else sys.stdin)
