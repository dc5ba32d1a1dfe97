"""Questions in natural language, the prompt format of Qwen2-Audio's pre-training.

A task has one or more English paraphrases. The last of two or more is held out
for evaluation. Prompts with the prefix ``qwen2-audio:`` are copied from that
model and always used in training; those with a language tag only for languages
that have one. Chinese clips also draw Chinese questions, in training only.

Source: Qwen2-Audio, arXiv:2407.10759, section 2.
"""

from math import lcm

from audio_lm.common.languages import UNKNOWN_LANGUAGE, has_tag
from audio_lm.prompts.conversation import END_TOKEN, Clip, Piece, as_text, markup
from audio_lm.prompts.templates import fill, has_language_tag
from audio_lm.tasks.task import Labels, Task

QWEN2_AUDIO_PREFIX = "qwen2-audio:"
CLIP_START, CLIP_END = "<|audio_bos|>", "<|audio_eos|>"


def training_prompts(task: Task) -> tuple[str, ...]:
    """Paraphrases that training draws from."""
    prompts = task.prompts if len(task.prompts) == 1 else task.prompts[:-1]
    return tuple(prompt.removeprefix(QWEN2_AUDIO_PREFIX) for prompt in prompts)


def evaluation_prompts(task: Task) -> tuple[str, ...]:
    """The held-out paraphrase, or the only one."""
    return (task.prompts[-1].removeprefix(QWEN2_AUDIO_PREFIX),)


def num_choices(task: Task) -> int:
    """Number of choices for the training paraphrase, so that each is equally likely, in Chinese or not.

    A language without a tag has one prompt less; the counts of the others then differ by at most one.
    """
    return lcm(len(training_prompts(task)), len(training_prompts(task)) + len(task.prompts_zh))


def fill_question(task: Task, labels: Labels, *, choice: int, is_evaluation: bool) -> list[str]:
    """Fill one of the task's question templates; its special tokens are ``Markup``.

    Args:
        choice: index of the paraphrase, modulo their number.
    """
    prompts = evaluation_prompts(task) if is_evaluation else training_prompts(task)
    if not has_tag(labels.get("language") or UNKNOWN_LANGUAGE):
        # A single wording is kept; filling it reports the language.
        prompts = tuple(prompt for prompt in prompts if not has_language_tag(prompt)) or prompts
    chinese = task.prompts_zh if labels.get("language") == "zh" and not is_evaluation else ()
    number = choice % (len(prompts) + len(chinese))
    return fill((*prompts, *chinese)[number], labels, is_chinese=number >= len(prompts))


def render_natural(
    task: Task, labels: Labels, *, choice: int, is_evaluation: bool, with_answer: bool
) -> list[Piece]:
    """Render clips, question, answer and end token; the loss covers the last two."""
    pieces: list[Piece] = []
    for number in range(1, task.num_clips + 1):
        pieces += [markup(CLIP_START), Clip(number), markup(CLIP_END)]
    pieces += [
        as_text(part) for part in fill_question(task, labels, choice=choice, is_evaluation=is_evaluation)
    ]
    return pieces + answer_in_words(task, labels, END_TOKEN) if with_answer else pieces


def answer_in_words(task: Task, labels: Labels, end: str) -> list[Piece]:
    """Render the plain answer and the end token."""
    return [as_text(task.plain_answer(labels), is_learned=True), markup(end, is_learned=True)]
