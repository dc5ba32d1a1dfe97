"""Dialogues, JSONL: the format of this project for conversations and preference pairs.

A row has ``turns``, each with ``role`` (system, user, assistant) and ``content``: a text in which ``<audio>`` is the next
audio of the row, or a list of ``{"text": ...}`` and ``{"audio": number}``. ``audios`` are paths, or objects with ``path`` or
``cut`` (``corpus/subset-split/id``) and ``start`` and ``end`` of a span; they are numbered through the conversation.
``learn: false`` leaves an answer out of the loss. ``rejected`` in the last answer, or ``rejected_audios`` of the row, make
a preference pair. All faults of all rows are reported at once.
"""

from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.audio_references import AudioReference, AudioReferences, clip_files
from audio_lm.corpora.imports.bad_lines import LineFaultsError
from audio_lm.corpora.imports.common import (
    DROP_TOOLS,
    ImportOptions,
    Row,
    for_each_row,
    refuse_columns,
)
from audio_lm.corpora.imports.dialogue_rows import DialogueRow, check_dialogue
from audio_lm.corpora.imports.tools import drop_or_refuse_tools
from audio_lm.corpora.imports.writer import ImportWriter
from audio_lm.prompts.chatml import ASSISTANT

NAME = "dialogues"


def read(path: Path, writer: ImportWriter, options: ImportOptions) -> None:
    """Import a file of this format.

    Raises:
        DataError: bad lines, all in one message.
    """
    refuse_columns(options, NAME)
    writer.bad.max_shown = None
    references = AudioReferences(path, options)

    def import_row(number: int, row: Row) -> None:
        if options.tools == DROP_TOOLS:
            drop_or_refuse_tools(row, writer, options)
        row.skip(["made"])  # how `audio-lm synthesize` made it
        dialogue, faults = check_dialogue(row)
        audios = _resolve(dialogue, dialogue.audios, "audio", references, faults)
        others = _resolve(dialogue, dialogue.rejected_audios, "rejected audio", references, faults)
        if faults:
            raise LineFaultsError(faults)
        labels: dict[str, Any] = {**options.label_language(), "conversation": dialogue.conversation}
        if dialogue.is_pair:
            labels["rejected"] = _rejected(dialogue)
        first = audios[0] if audios and audios[0].cut is None else None
        further = clip_files(audios if first is None else audios[1:], writer, options)
        writer.add_conversation(
            options.subset_split,
            options.cut_id(number, row.get("id")),
            further if first is None else [first.path, *further],
            labels,
            rejected_clips=clip_files(others, writer, options),
            start=first.start if first else 0.0,
            duration=first.duration if first else None,
        )

    for_each_row(path, import_row, writer.notes, bad=writer.bad)


def _resolve(
    dialogue: DialogueRow, audios: list[Any], what: str, references: AudioReferences, faults: list[str]
) -> list[AudioReference]:
    """Audio of a row; what cannot be resolved is added to the faults."""
    found = []
    for number, value in enumerate(audios, start=1):
        try:
            found.append(references.resolve(value))
        except DataError as error:
            turn = dialogue.turn_of_audio(number)
            faults.append(f"{f'turn {turn}: ' if turn else ''}{what} {number}: {error}")
    return found


def _rejected(dialogue: DialogueRow) -> str | list[dict[str, Any]]:
    """Label ``rejected``: the last answer, or a conversation if its audios are others."""
    if not dialogue.rejected_audios:
        assert dialogue.rejected is not None, "the row is a pair"
        return dialogue.rejected
    if dialogue.rejected is None:
        return dialogue.conversation
    last = {"role": ASSISTANT, "content": [{"text": dialogue.rejected}]}
    return [*dialogue.conversation[:-1], last]
