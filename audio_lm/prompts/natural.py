"""Questions in plain words, the language of Qwen2-Audio's pre-training.

The last of a task's English prompts, where there are two or more, is held out:
evaluation asks with it and training never does. The prompts marked
``qwen2-audio:`` are that system's own and always train, those with a tag of a
language only where the language has one. Clips in Chinese may
also be asked in Chinese, in training only.

Source: Qwen2-Audio, arXiv:2407.10759, section 2.
"""

from math import lcm

from audio_lm.common.languages import UNKNOWN_LANGUAGE, has_tag
from audio_lm.prompts.conversation import END_TOKEN, Clip, Piece, as_text, markup
from audio_lm.prompts.templates import asks_for_tag, fill
from audio_lm.tasks.task import Labels, Task

SYSTEM_MARK = "qwen2-audio:"
CLIP_START, CLIP_END = "<|audio_bos|>", "<|audio_eos|>"


def training_prompts(task: Task) -> tuple[str, ...]:
    """The paraphrases that training may draw."""
    prompts = task.prompts if len(task.prompts) == 1 else task.prompts[:-1]
    return tuple(prompt.removeprefix(SYSTEM_MARK) for prompt in prompts)


def evaluation_prompts(task: Task) -> tuple[str, ...]:
    """The paraphrase held out for evaluation, or the only one there is."""
    return (task.prompts[-1].removeprefix(SYSTEM_MARK),)


def num_choices(task: Task) -> int:
    """Numbers to draw a training paraphrase with, so that each is equally likely, in Chinese or not.

    Of a language without a tag one prompt is left out; the others are then equally likely within one number.
    """
    return lcm(len(training_prompts(task)), len(training_prompts(task)) + len(task.prompts_zh))


def ask(task: Task, labels: Labels, *, choice: int, is_evaluation: bool) -> list[str]:
    """One of the task's questions, filled in; its tokens are ``Markup``.

    Args:
        choice: any number; counts round the paraphrases.
    """
    prompts = evaluation_prompts(task) if is_evaluation else training_prompts(task)
    if not has_tag(labels.get("language") or UNKNOWN_LANGUAGE):
        prompts = tuple(prompt for prompt in prompts if not asks_for_tag(prompt))
    chinese = task.prompts_zh if labels.get("language") == "zh" and not is_evaluation else ()
    number = choice % (len(prompts) + len(chinese))
    return fill((*prompts, *chinese)[number], labels, is_chinese=number >= len(prompts))


def render_natural(
    task: Task, labels: Labels, *, choice: int, is_evaluation: bool, with_answer: bool
) -> list[Piece]:
    """A clip, a question, the answer and the end token; the last two are learned."""
    pieces: list[Piece] = []
    for number in range(1, task.num_clips + 1):
        pieces += [markup(CLIP_START), Clip(number), markup(CLIP_END)]
    pieces += [as_text(part) for part in ask(task, labels, choice=choice, is_evaluation=is_evaluation)]
    return pieces + answer_in_words(task, labels, END_TOKEN) if with_answer else pieces


def answer_in_words(task: Task, labels: Labels, end: str) -> list[Piece]:
    """The answer and the token that ends it."""
    return [as_text(task.plain_answer(labels), is_learned=True), markup(end, is_learned=True)]
