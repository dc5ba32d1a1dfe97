"""Chat page in gradio: composer with microphone and upload, conversation, example prompts, stop, regenerate, clear.

The conversation is HTML of our own (``markup``), drawn by ``page.js``; gradio brings the composer, the queue and the
connection to the browser. Nothing of gradio that leaves the machine is on: no analytics, shared links or web fonts.
"""

import html
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr

from audio_lm.chat.conversation import ChatOptions
from audio_lm.common.errors import UserError
from audio_lm.web.markup import conversation_json
from audio_lm.web.prompts import ExamplePrompt
from audio_lm.web.sessions import PageSession, Turn
from audio_lm.web.store import SessionStore

NUM_UPLOADS_AT_A_TIME = 4  # that are decoded
MIN_SECONDS_BETWEEN_UPDATES = 0.05
MAX_TOKENS = 1024  # of an answer
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".aiff", ".aif", ".aac", ".mp4")
SYSTEM_FONTS = (
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "Noto Sans CJK SC",
    "sans-serif",
)
MONOSPACE_FONTS = ("ui-monospace", "Menlo", "Consolas", "monospace")
STATIC: dict[str, Any] = {
    "padding": False,
    "apply_default_css": False,
    "js_on_load": None,
}  # HTML without events
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Runs when gradio has drawn the component; `watch` calls the function after every new value.
WATCH = "watch('value', () => window.audioLmShow(props.value)); window.audioLmShow(props.value)"


def build_page(
    store: SessionStore, options: ChatOptions, *, title: str, prompts: tuple[ExamplePrompt, ...] = ()
) -> gr.Blocks:
    """Build the page over the conversations of a store.

    Args:
        options: of the conversations, before a page changes them.
        title: name of the model.
        prompts: offered below the conversation; a click writes one into the composer.
    """
    return _Page(store, options).build(title, prompts)


def page_assets() -> dict[str, Any]:
    """Theme, styles and script, which gradio takes when the page is mounted."""
    folder = files("audio_lm.web")
    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=SYSTEM_FONTS,
        font_mono=MONOSPACE_FONTS,
    )
    script = (folder / "page.js").read_text(encoding="utf-8")
    # In the head, because gradio would prefix every rule of its own `css` with a class.
    style = (folder / "page.css").read_text(encoding="utf-8")
    return {"theme": theme, "head": f"<style>{style}</style><script>{script}</script>"}


class _Page:
    """Events of the page; each finds the conversation by the identifier that gradio gives a page."""

    def __init__(self, store: SessionStore, options: ChatOptions) -> None:
        self.store = store
        self.options = options

    def build(self, title: str, prompts: tuple[ExamplePrompt, ...]) -> gr.Blocks:
        limits = self.store.limits
        with gr.Blocks(
            title=f"{title} - audio_lm",
            analytics_enabled=False,
            # Uploads of a browser that left between its upload and the message about it.
            delete_cache=(600, int(limits.idle_seconds)),
        ) as page:
            gr.HTML(_top(title), **STATIC)
            gr.HTML(_talk(limits.clip_seconds), **STATIC)
            turns = gr.HTML("[]", html_template="", js_on_load=WATCH, visible="hidden")
            if prompts:
                gr.HTML(_prompts(prompts), **STATIC)
            with gr.Column(elem_id="composer"):
                buttons = self._buttons()
                question = gr.MultimodalTextbox(
                    sources=["upload", "microphone"],
                    file_types=[*AUDIO_SUFFIXES],
                    file_count="multiple",
                    placeholder="Ask about the audio",
                    show_label=False,
                    elem_id="question",
                    max_lines=6,
                )
            self._connect(question, turns, buttons, self._settings())
            page.unload(self.leave)
        page.queue(max_size=limits.num_waiting, default_concurrency_limit=limits.num_answers)
        return page

    def _buttons(self) -> dict[str, gr.Button]:
        can_find = self.store.find_words is not None
        with gr.Row(elem_id="actions"):
            return {
                "stop": gr.Button("Stop", size="sm", variant="stop", elem_id="stop", visible=False),
                "find": gr.Button("Find words", size="sm", elem_id="find", visible=can_find),
                "again": gr.Button("Regenerate", size="sm", elem_id="regenerate", interactive=False),
                "clear": gr.Button("Clear", size="sm", elem_id="clear", interactive=False),
            }

    def _connect(
        self,
        question: gr.MultimodalTextbox,
        turns: gr.HTML,
        buttons: dict[str, gr.Button],
        settings: list[gr.Slider],
    ) -> None:
        state = [turns, buttons["stop"], buttons["again"], buttons["clear"]]
        # Through the queue, because gradio shows no error of an event that passes it by; in a line of their own.
        checked: dict[str, Any] = {
            "concurrency_id": "questions",
            "concurrency_limit": NUM_UPLOADS_AT_A_TIME,
            **QUIET,
        }
        at_once: dict[str, Any] = {"queue": False, **QUIET}
        for accepted in (
            question.submit(self.ask, [question, *settings], [question, *state], **checked),
            buttons["find"].click(self.search, [question], [question, *state], **checked),
            buttons["again"].click(self.reopen, settings, state, **checked),
        ):
            accepted.success(
                self.answer,
                None,
                state,
                concurrency_id="answers",
                concurrency_limit=self.store.limits.num_answers,
                **QUIET,
            )
        buttons["stop"].click(self.stop, None, None, **at_once)
        buttons["clear"].click(self.clear, None, [question, *state], **at_once)
        question.change(self.keep_uploads, [question], None, trigger_mode="always_last", **at_once)

    def _settings(self) -> list[gr.Slider]:
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            temperature = gr.Slider(
                0,
                2,
                self.options.sampling.temperature,
                step=0.05,
                label="Temperature",
                info="0 takes the most probable token; higher values make another answer each time",
            )
            length = gr.Slider(
                1,
                MAX_TOKENS,
                self.options.max_new_tokens,
                step=1,
                label="Maximum length of an answer, in tokens",
            )
        return [temperature, length]

    def ask(
        self, message: dict[str, Any], temperature: float, length: float, request: gr.Request
    ) -> tuple[Any, ...]:
        """Add the question of the composer to the conversation."""
        session_id = _id_of(request)
        try:
            session = self.store.open(session_id)
            self._set_options(session, temperature, length)
            session.add_question(message["text"] or "", [Path(path) for path in message["files"]])
        except UserError as error:
            raise _shown(error) from error
        self.store.keep_uploads(session_id, ())
        return (None, *_state(session))

    def search(self, message: dict[str, Any], request: gr.Request) -> tuple[Any, ...]:
        """Add the words of the composer to the conversation, to be found in its audio."""
        session_id = _id_of(request)
        try:
            session = self.store.open(session_id)
            session.add_search(message["text"] or "", [Path(path) for path in message["files"]])
        except UserError as error:
            raise _shown(error) from error
        self.store.keep_uploads(session_id, ())
        return (None, *_state(session))

    def reopen(self, temperature: float, length: float, request: gr.Request) -> tuple[Any, ...]:
        """Empty the last answer."""
        session = self.store.find(_id_of(request))
        try:
            if session is None:
                raise UserError("the conversation has ended -- ask a question to begin another")
            self._set_options(session, temperature, length)
            session.reopen_answer()
        except UserError as error:
            raise _shown(error) from error
        return _state(session)

    def answer(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Stream the open answer."""
        session = self.store.find(_id_of(request))
        if session is None:
            return
        shown_at = 0.0
        for _ in session.answer():
            if self.store.find(_id_of(request)) is not session:  # cleared meanwhile
                return
            now = time.monotonic()
            if now - shown_at >= MIN_SECONDS_BETWEEN_UPDATES or not session.is_answering:
                shown_at = now
                yield _state(session)

    def stop(self, request: gr.Request) -> None:
        """End the answer that is being generated."""
        if session := self.store.find(_id_of(request)):
            session.stop()

    def clear(self, request: gr.Request) -> tuple[Any, ...]:
        """Forget the conversation."""
        session_id = _id_of(request)
        self.store.close(session_id)
        return (None, *_state(None))

    def keep_uploads(self, message: dict[str, Any] | None, request: gr.Request) -> None:
        """Register the files in the composer, so that they are deleted with the page."""
        self.store.keep_uploads(_id_of(request), [Path(path) for path in (message or {}).get("files", ())])

    def leave(self, request: gr.Request) -> None:
        """End the conversation of a page that was closed."""
        self.store.close(_id_of(request))

    def _set_options(self, session: PageSession, temperature: float, length: float) -> None:
        sampling = replace(self.options.sampling, temperature=float(temperature))
        session.set_options(
            replace(self.options, sampling=sampling, max_new_tokens=min(MAX_TOKENS, max(1, int(length))))
        )


def _id_of(request: gr.Request) -> str:
    assert request.session_hash, "gradio gives every page an identifier"
    return request.session_hash


def _shown(error: UserError) -> gr.Error:
    """Error that gradio shows as a message; its text is markup there."""
    return gr.Error(html.escape(str(error)), duration=12, print_exception=False, title="Not sent")


def _state(session: PageSession | None) -> tuple[Any, ...]:
    """Values of the conversation and of its buttons."""
    turns: list[Turn] = session.turns if session else []
    is_answering = bool(session and session.is_answering)
    return (
        conversation_json(turns),
        gr.update(visible=is_answering),
        gr.update(interactive=bool(turns) and not is_answering),
        gr.update(interactive=bool(turns)),
    )


def _top(title: str) -> str:
    return (
        f'<header class="top"><h1>audio_lm</h1><span>{html.escape(title)}</span>'
        f'<button type="button" aria-label="light or dark" title="light or dark">&#9680;</button></header>'
    )


def _talk(max_seconds: float) -> str:
    return (
        f'<div class="talk" role="log"><div class="start"><strong>Ask about audio</strong>'
        f"Attach or record one or more clips of up to {max_seconds:g} s, and ask a question in words or in speech.<br>"
        f"The audio stays on this machine and is deleted when the page is closed.</div></div>"
    )


def _prompts(prompts: tuple[ExamplePrompt, ...]) -> str:
    buttons = "".join(
        f'<button type="button" data-text="{html.escape(prompt.text)}" title="{html.escape(prompt.text)}">'
        f"<b>{html.escape(prompt.task)}</b>{html.escape(prompt.text)}</button>"
        for prompt in prompts
    )
    return f'<div class="prompts" aria-label="example prompts">{buttons}</div>'
