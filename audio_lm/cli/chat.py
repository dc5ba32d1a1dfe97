"""Command for a conversation with a model, about any number of clips."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_lm.cli.library_messages import silence_libraries
from audio_lm.cli.options import TrustCode, paused_gc
from audio_lm.common.errors import UserError, unknown

if TYPE_CHECKING:
    from audio_lm.chat.conversation import Conversation
    from audio_lm.chat.remote import RemoteConversation
    from audio_lm.chat.session import ChatOptions

LONG_AUDIO = ("error", "truncate", "chunk")


def chat(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Run, exported or published model folder, or a hub name."),
    ] = None,
    audio: Annotated[
        list[Path] | None, typer.Option(help="Clip of the first message; may be repeated.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 takes the most probable token.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from this many most probable tokens.")] = None,
    top_p: Annotated[float, typer.Option(help="Draw from the tokens with this probability together.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends an answer; may be repeated.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")] = 256,
    long_audio: Annotated[
        str | None,
        typer.Option(
            help="A clip over 30 s: error, truncate to its first 30 s, or chunk into several; default the rule of the training."
        ),
    ] = None,
    channel: Annotated[
        str, typer.Option(help="For multi-channel audio: average, left or right.")
    ] = "average",
    stage: Annotated[
        str | None, typer.Option(help="Stage of a run; default the last that was trained with conversations.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible endpoint instead of a model in this process.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the endpoint's model; default the only one that it lists.")
    ] = "",
    trust_code: TrustCode = False,
) -> None:
    r"""Talk with a model about clips; earlier turns are not processed again.

    Lines of stdin are messages and commands, so that a conversation can be scripted; the answers, and nothing else, are printed
    to stdout. /help lists the commands.

    Examples: `audio-lm chat runs/demo-1a2b3c4d` · `audio-lm chat Qwen2-Audio-7B-Instruct --temperature 0.7 --top-p 0.9` ·
    `printf '/audio a.wav\nWho speaks?\n' | audio-lm chat runs/demo-1a2b3c4d` · `audio-lm chat --url http://127.0.0.1:8000/v1`
    """
    silence_libraries()
    if (model is None) == (url is None):
        given = "both MODEL and --url are" if url else "neither MODEL nor --url is"
        raise UserError(f"{given} given -- expected one of them; name a run, or an endpoint")
    if long_audio is not None and long_audio not in LONG_AUDIO:
        raise UserError(unknown("--long-audio", long_audio, LONG_AUDIO, see="audio-lm chat --help"))
    with paused_gc():
        from rich.console import Console

        from audio_lm.chat.session import ChatOptions, ChatSession, open_chat_model
        from audio_lm.chat.terminal import Terminal
        from audio_lm.model.decoder.sampling import SamplingConfig

        options = ChatOptions(
            max_new_tokens,
            SamplingConfig(temperature, top_k, top_p, seed),
            tuple(stop or ()),
            long_audio,  # type: ignore[arg-type]  # checked above
            channel,
        )
        if url is not None:
            conversation: Conversation = _remote(url, name, options)
        else:
            assert model is not None, "one of both is given"
            loaded = open_chat_model(model, stage=stage, trusts_code=trust_code)
            conversation = ChatSession(loaded, options)
    is_interactive = sys.stdin.isatty()
    terminal = Terminal(conversation, sys.stdout, Console(stderr=True), is_interactive=is_interactive)
    for path in audio or ():
        terminal.add_audio(str(path))
    terminal.run(terminal.read_lines() if is_interactive else sys.stdin)


def _remote(url: str, name: str, options: "ChatOptions") -> "RemoteConversation":
    from audio_lm.chat.remote import RemoteConversation
    from audio_lm.common.chat_endpoint import ChatEndpoint, EndpointConfig

    return RemoteConversation(ChatEndpoint(EndpointConfig(url, name)), options)
