"""Questions as hierarchical tags, the prompt format of Qwen-Audio.

Order: start, audio language, task, text language, time stamps or none, output
instruction; a question in words replaces the last four.

Source: Qwen-Audio, arXiv:2311.07919, section 3.
"""

import re
from collections.abc import Collection

from audio_lm.common.errors import RecipeError
from audio_lm.common.languages import NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE
from audio_lm.common.markup import TAG
from audio_lm.prompts.conversation import END_TOKEN, Clip, Piece, as_text, markup
from audio_lm.prompts.templates import fill
from audio_lm.prompts.vocabulary import MARKUP_TOKENS
from audio_lm.tasks.task import Labels, Markup, Task

AUDIO_START, AUDIO_END = "<audio>", "</audio>"

_CODES = "|".join(NAME_OF_LANGUAGE)
_GRAMMAR = re.compile(
    r"<\|startof(transcript|analysis)\|>"
    rf"(<\|(\{{language\}}|{UNKNOWN_LANGUAGE}|{_CODES})\|>"
    r"(<\|question\|>((?!<\|).)+<\|answer\|>"
    r"|<\|(transcribe|translate|caption|keyword)\|>"
    rf"<\|(\{{language\}}|\{{target_language\}}|zh_tr|{_CODES})\|>"
    r"<\|(no)?timestamps\|>"
    r"(<\|\w+\|>)?))?",
    re.DOTALL,
)


def render_tags(task: Task, labels: Labels, *, with_answer: bool) -> list[Piece]:
    """Render clips, tags, answer and end token.

    The loss covers every token after the start tag, which trains language
    identification. It leaves out the words of a question, which are input; the
    tags around them are learned.
    """
    pieces: list[Piece] = []
    for number in range(1, task.num_clips + 1):
        pieces += [markup(AUDIO_START), Clip(number), markup(AUDIO_END)]
    start, *rest = fill(task.tags, labels)
    pieces.append(as_text(start))
    pieces += [as_text(part, is_learned=isinstance(part, Markup)) for part in rest]
    return pieces + answer_in_tags(task, labels) if with_answer else pieces


def answer_in_tags(task: Task, labels: Labels) -> list[Piece]:
    """Render the tagged answer and the end token."""
    pieces: list[Piece] = [as_text(part, is_learned=True) for part in task.parts(labels)]
    return [*pieces, markup(END_TOKEN, is_learned=True)]


def check_tags(task: Task, known: Collection[str] = MARKUP_TOKENS) -> None:
    """Check that a task's tags are tokens in the order of the paper.

    A tag that the vocabulary lacks would be split into sub-words and train without
    an error. A tag at another position would train the model on two orders.

    Args:
        task: whose template is checked; its language fields match all languages.
        known: tokens of the vocabulary.

    Raises:
        RecipeError: a tag is no token, or the order is another.
    """
    tags = [tag for tag in TAG.findall(task.tags) if "{" not in tag]
    absent = sorted({tag for tag in (*tags, *task.extension_tokens) if tag not in known})
    if absent:
        raise RecipeError(
            f"task {task.name!r} uses the tags {absent}, which are no tokens of the vocabulary -- every "
            f"tag must be one token; correct the task's tags, or list new ones in its extension_tokens"
        )
    if not _GRAMMAR.fullmatch(task.tags):
        raise RecipeError(
            f"task {task.name!r} has the tags {task.tags!r} -- expected the order start, language, task, "
            f"text language, time stamps, output instruction; correct the task's tags"
        )
