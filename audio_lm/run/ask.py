"""Questions about audio files, answered by the model of a run or by a published model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.errors import RecipeError, UserError, unknown
from audio_lm.common.languages import LANGUAGE_LABELS, NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE, language_code
from audio_lm.common.markup import TAG
from audio_lm.corpora.channels import AVERAGE
from audio_lm.data.collate import Collator
from audio_lm.data.example import Example
from audio_lm.data.examples import with_example
from audio_lm.data.manifest.cuts import num_samples_of
from audio_lm.model.decoder.generate import GenerationOptions, generate
from audio_lm.model.encoders.token_count import audio_token_count
from audio_lm.pipeline.clip_cuts import LongClip, cut_of_files
from audio_lm.prompts.conversation import Clip, Piece, markup
from audio_lm.prompts.encode import encode
from audio_lm.prompts.natural import training_prompts
from audio_lm.prompts.render import PROMPTS, render, render_chat
from audio_lm.prompts.stamp_order import IncreasingStamps
from audio_lm.prompts.tags import check_tags
from audio_lm.prompts.templates import fields_of
from audio_lm.run.load_model import LoadedModel, check_prompt, load_answering_model
from audio_lm.tasks.registry import CHAT, find_task
from audio_lm.tasks.task import Task

QUESTION_TASK = "aqa"  # a free question, in every prompt format
MAX_NEW_TOKENS = 256
LANGUAGE_OF_TAG = {f"<|{code}|>": code for code in (*NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE)}


@dataclass(frozen=True)
class ClipOptions:
    """Reading of the files, and the length of an answer."""

    long_audio: LongClip = "error"
    """Handling of a clip over 30 s."""

    channel: str = AVERAGE
    """Channel of files that have several: ``average``, ``left`` or ``right``."""

    max_new_tokens: int = MAX_NEW_TOKENS
    """Maximum length of an answer."""

    ordered_stamps: bool = False
    """Generate only time stamps that increase and lie within the clip."""


@dataclass(frozen=True)
class Answer:
    """The answer to one question."""

    paths: tuple[str, ...]
    """Clips of the question."""

    text: str
    """Raw answer, markup included."""

    task: str
    """Task, or ``chat``."""

    prompt: str
    """Prompt format."""

    language: str | None = None
    """Language that the model has detected for the tags of the prompt; None where none was needed."""


@dataclass(frozen=True)
class _Question:
    """A checked question, without clips."""

    task: Task | None
    """None for clips alone, in a chat."""

    prompt: str
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return CHAT if self.task is None else self.task.name

    @property
    def needs_language(self) -> bool:
        """True if its tags have a language that is not given."""
        return (
            self.task is not None
            and self.prompt == "tags"
            and "language" in fields_of(self.task.tags) - self.labels.keys()
        )


class AnsweringModel:
    """A loaded model that answers questions about audio files."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._token_count = audio_token_count(loaded.config)
        self._collate = Collator(num_mels=loaded.config.encoder.sizes.num_mels)

    def ask(
        self,
        clips: Sequence[str | Path],
        *,
        task: str | None = None,
        question: str | None = None,
        prompt: str | None = None,
        labels: Mapping[str, str] | None = None,
        options: ClipOptions | None = None,
    ) -> Iterator[Answer]:
        """Answer a task for each clip, or one question about all of them.

        Args:
            clips: audio files. A task is answered for each (for each pair, if it compares two); a question in words and a
                chat are about all of them together.
            task: name of a task, or ``chat`` for the clips alone.
            question: in words, instead of a task.
            prompt: ``tags``, ``natural`` or ``chatml``; by default that of the training.
            labels: of the clips, where the question needs them: ``language``, ``target_language`` ...

        Raises:
            UserError: no question follows from this, the model has no tokens for it, or a file is unusable.
        """
        wanted = self._question(task, question, prompt, labels or {}, num_clips=len(clips))
        size = len(clips) if wanted.task is None or question is not None else wanted.task.num_clips
        if not clips or len(clips) % size:
            raise UserError(
                f"task {wanted.name!r} is about {size} clips, and there are {len(clips)}; give {size} of them"
            )
        for start in range(0, len(clips), size):
            group = tuple(map(Path, clips[start : start + size]))
            yield self._answer(group, wanted, options or ClipOptions())

    def _question(
        self,
        task: str | None,
        question: str | None,
        prompt: str | None,
        labels: Mapping[str, str],
        *,
        num_clips: int,
    ) -> _Question:
        chosen = prompt or self.loaded.prompt
        if chosen not in PROMPTS:
            raise RecipeError(unknown("prompt", chosen, PROMPTS, see="audio-lm ask --help"))
        if self.loaded.is_published:
            check_prompt(self.loaded.vocabulary, chosen, source=self.loaded.source)
        if task is not None and question is not None:
            raise UserError(f"both the task {task!r} and a question are given; give one of them")
        known = {
            name: language_code(value) if name in LANGUAGE_LABELS else value for name, value in labels.items()
        }
        if question is not None:
            if unused := sorted(known.keys() - {"language"}):
                raise UserError(f"label {unused[0]!r} has no effect beside a question in words; leave it out")
            wording = replace(
                find_task(QUESTION_TASK), prompts=("{question}",), prompts_zh=(), num_clips=num_clips
            )
            return self._checked(_Question(wording, chosen, known | {"question": question}))
        name = task or self._only_task(chosen)
        if name == CHAT:
            if chosen != "chatml":
                raise UserError(
                    f"a chat needs prompt chatml, and this model has {chosen}; give a task or a question"
                )
            return _Question(None, chosen)
        return self._checked(
            _with_given_labels(_Question(find_task(name, self.loaded.task_table), chosen, known))
        )

    def _only_task(self, prompt: str) -> str:
        """The task to answer where none is given: voice chat for chatml, else the only one of the training."""
        if prompt == "chatml":
            return CHAT
        if len(self.loaded.tasks) == 1:
            return self.loaded.tasks[0]
        trained = (
            f"was trained with {', '.join(self.loaded.tasks)}" if self.loaded.tasks else "answers any task"
        )
        raise UserError(
            f"{self.loaded.source} {trained}; choose one with --task, such as --task {(*self.loaded.tasks, 'asr')[0]}, or "
            f'give a question in words with --question "..."'
        )

    def _checked(self, question: _Question) -> _Question:
        """Check that every tag of a question is a token of the model."""
        assert question.task is not None, "a chat has no tags"
        if question.prompt == "tags":
            vocabulary = self.loaded.vocabulary
            limit = vocabulary.num_base if self.loaded.is_published else len(vocabulary)
            check_tags(question.task, {token for token, index in vocabulary.id_of.items() if index < limit})
        return question

    def _answer(self, paths: tuple[Path, ...], question: _Question, options: ClipOptions) -> Answer:
        cut = cut_of_files(paths, question.labels, long_audio=options.long_audio, channel=options.channel)
        labels, language = dict(question.labels), None
        if question.needs_language:
            language = self._language(cut, question)
            labels["language"] = language
        if question.task is None:
            content = [{"audio": number} for number in range(1, len(paths) + 1)]
            pieces = render_chat([{"role": "user", "content": content}], with_answer=False)
        else:
            pieces = render(question.task, labels, prompt=question.prompt, with_answer=False)
        text = self._generate(cut, pieces, question.name, options)
        return Answer(tuple(map(str, paths)), text, question.name, question.prompt, language)

    def _language(self, cut: Any, question: _Question) -> str:
        """Spoken language, which the model predicts after the start tag.

        Source: Qwen-Audio, arXiv:2311.07919, section 3.
        """
        assert question.task is not None, "a chat has no tags"
        pieces: list[Piece] = []
        for number in range(1, question.task.num_clips + 1):
            pieces += [markup("<audio>"), Clip(number), markup("</audio>")]
        start = TAG.findall(question.task.tags)[0]
        tag = self._generate(cut, [*pieces, markup(start)], question.name, ClipOptions(max_new_tokens=1))
        return LANGUAGE_OF_TAG.get(tag, UNKNOWN_LANGUAGE)

    def _generate(self, cut: Any, pieces: list[Piece], task: str, options: ClipOptions) -> str:
        vocabulary = self.loaded.vocabulary
        num_samples = num_samples_of(cut)
        encoded = encode(
            pieces,
            vocabulary,
            num_tokens_of_clip=[self._token_count.tokens_in(count) for count in num_samples],
        )
        example = Example(
            cut.id, task, 0, encoded.token_ids, encoded.is_learned, encoded.audio_index, tuple(num_samples)
        )
        seconds = max(num_samples) / SAMPLES_PER_SECOND
        ((answer,),) = generate(
            self.loaded.model,
            self._collate([with_example(cut, example)]),
            GenerationOptions(
                end_ids={vocabulary.end_id, vocabulary.turn_end_id},
                max_new_tokens=options.max_new_tokens,
                constraint=IncreasingStamps(vocabulary, num_seconds=seconds)
                if options.ordered_stamps
                else None,
            ),
        )
        return vocabulary.text(answer.token_ids)


def open_model(
    path: str | Path,
    *,
    stage: str | None = None,
    task: str | Sequence[str] | None = None,
    trusts_code: bool = False,
) -> AnsweringModel:
    """Load a model that answers questions about audio files.

    Args:
        path: folder of a run, a Qwen2-Audio or Qwen-Audio folder, or the hub name of one.
        stage: of a run; by default the last that was trained with ``task``, or else the last.
        task: to choose the stage by; one of several, if several are given.

    Raises:
        UserError: there is no such model.
    """
    return AnsweringModel(load_answering_model(path, stage, task=task, trusts_code=trusts_code))


def _with_given_labels(question: _Question) -> _Question:
    """Question in a wording of the training for which all labels are given.

    Raises:
        UserError: every wording needs a label that is not given; names it.
    """
    task = question.task
    assert task is not None, "a chat has no wording"
    labels = {"language": task.language, **question.labels} if task.language else question.labels
    given = {*labels, *(("language",) if question.prompt == "tags" else ())}  # the model detects it
    templates = (task.tags,) if question.prompt == "tags" else training_prompts(task)
    needed = {"language"}.union(*map(fields_of, templates))
    if unused := sorted(question.labels.keys() - needed):
        raise UserError(
            f"label {unused[0]!r} has no effect, because no question of task {task.name!r} has it; leave it out"
        )
    fitting = [template for template in templates if fields_of(template) <= given]
    if not fitting:
        missing = sorted(fields_of(templates[-1]) - given)
        raise UserError(
            f"the question of task {task.name!r} needs {', '.join(missing)}; give it with --label {missing[0]}=..."
        )
    wording = task if question.prompt == "tags" else replace(task, prompts=(fitting[0],), prompts_zh=())
    return replace(question, task=wording, labels=labels)
