"""Questions about one clip, in several wordings, and their answers from labels.

Answers are short, without a sentence ("three five nine", "female", "German", "bell tone"), so that they can be scored by
exact match. ``dialogues.py`` chooses the clips and builds conversations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from audio_lm.common.languages import NAME_OF_LANGUAGE, UNKNOWN_LANGUAGE
from audio_lm.corpora.synthetic.speech_sentences import DIGITS
from audio_lm.corpora.synthetic.wordings import Wordings

Labels = Mapping[str, Any]
AnswerKind = Literal["choice", "words", "list", "count", "times"]
"""Kind of an answer: one of several, words in order, a list with commas, a number, or seconds; for rejected answers."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Question about one clip."""

    name: str
    share: float
    """Relative frequency."""
    answer: Callable[[Labels], str | None]
    """Answer from the labels of a clip; None if they contain none."""
    label: str | None
    """Label with the answer; the conversation has its honesty. None counts as exact."""
    wordings: Wordings
    kind: AnswerKind = "choice"
    corruption: str = "another answer"
    """Name of a wrong choice."""


def digits(labels: Labels) -> str | None:
    """Transcript, if it consists of English digits only."""
    words = (labels.get("text") or "").split()
    return " ".join(words) if words and all(word in DIGITS for word in words) else None


def num_digits(labels: Labels) -> str | None:
    """Number of spoken digits, as a word."""
    text = digits(labels)
    return DIGITS[len(text.split())] if text and len(text.split()) < len(DIGITS) else None


def language(labels: Labels) -> str | None:
    """English name of the spoken language."""
    return NAME_OF_LANGUAGE.get(labels.get("language") or UNKNOWN_LANGUAGE)


def command(labels: Labels) -> str | None:
    """Command word, if there is one."""
    keyword = labels.get("keyword")
    return None if keyword == "none" else keyword


def only_event(labels: Labels) -> str | None:
    """Sound event of a clip with exactly one."""
    times = labels.get("event_times", [])
    return str(times[0][0]) if len(times) == 1 else None


def note_instrument(labels: Labels) -> str | None:
    """Instrument of a single note."""
    return labels.get("instrument") if "pitch" in labels else None


def note_pitch(labels: Labels) -> str | None:
    """MIDI pitch of a single note."""
    return str(labels["pitch"]) if "pitch" in labels else None


def nature(labels: Labels) -> str | None:
    """Speech, music or sound."""
    if (labels.get("language") or UNKNOWN_LANGUAGE) != UNKNOWN_LANGUAGE:
        return "speech"
    if "instrument" in labels:
        return "music"
    return "sound" if "events" in labels or "scene" in labels else None


QUESTIONS = (
    Question(
        name="digits",
        kind="words",
        share=0.18,
        answer=digits,
        label="text",
        wordings=Wordings(
            training=(
                "What digits do you hear?",
                "Which digits are spoken?",
                "Write down the digits.",
                "Which numbers does the person say?",
                "What numbers are spoken?",
                "Say the digits you hear.",
                "Tell me the digits in the audio.",
                "List the digits.",
                "What digits does the speaker say?",
                "Please write down the numbers.",
            ),
            held_out=(
                "Which digits do you hear?",
                "Tell me the numbers in the audio.",
                "Please list the digits.",
            ),
        ),
    ),
    Question(
        name="num_digits",
        kind="count",
        share=0.02,
        answer=num_digits,
        label="text",
        wordings=Wordings(
            training=(
                "How many digits do you hear?",
                "Count the digits.",
                "How many digits are spoken?",
                "How many numbers does the person say?",
                "What is the count of the digits?",
                "Tell me how many digits there are.",
                "How many digits does the speaker say?",
                "Please count the numbers.",
            ),
            held_out=("How many numbers do you hear?", "Please count the digits."),
        ),
    ),
    Question(
        name="gender",
        corruption="another speaker",
        share=0.16,
        answer=lambda labels: labels.get("gender"),
        label="gender",
        wordings=Wordings(
            training=(
                "Is the speaker male or female?",
                "Is this a male or a female voice?",
                "What is the gender of the speaker?",
                "Is the person male or female?",
                "Tell me the gender of the voice.",
                "Is the voice female or male?",
                "Which gender does the speaker have?",
                "Say whether the voice is male or female.",
                "Does a male or a female person speak?",
                "Name the gender of the person.",
            ),
            held_out=(
                "Which gender does the voice have?",
                "Is the speaker female or male?",
                "Tell me whether the person is male or female.",
            ),
        ),
    ),
    Question(
        name="language",
        corruption="another language",
        share=0.16,
        answer=language,
        label="language",
        wordings=Wordings(
            training=(
                "Which language is this?",
                "What language is spoken?",
                "Which language does the speaker use?",
                "In which language does the person speak?",
                "Name the language.",
                "What language do you hear?",
                "Tell me the language of the speech.",
                "Identify the spoken language.",
                "What is the language of this audio?",
                "Please name the language that is spoken.",
            ),
            held_out=(
                "Which language do you hear?",
                "Tell me which language is spoken.",
                "What is the language of the speaker?",
            ),
        ),
    ),
    Question(
        name="command",
        corruption="another word",
        share=0.13,
        answer=command,
        label="keyword",
        wordings=Wordings(
            training=(
                "Which command word is spoken?",
                "What is the command?",
                "Which command do you hear?",
                "Name the command word.",
                "What command does the speaker give?",
                "Tell me the command word in the audio.",
                "Which word of command is it?",
                "What command word do you hear?",
                "Say the command.",
                "Write down the command that is given.",
            ),
            held_out=(
                "Which command is given?",
                "Tell me the command that is spoken.",
                "What command word does the speaker say?",
            ),
        ),
    ),
    Question(
        name="instrument",
        corruption="hallucinated sound",
        share=0.12,
        answer=note_instrument,
        label="instrument",
        wordings=Wordings(
            training=(
                "Which instrument plays?",
                "What instrument do you hear?",
                "Name the instrument.",
                "Which instrument is this?",
                "What instrument is playing?",
                "Tell me the instrument.",
                "What kind of instrument is it?",
                "On which instrument is this note played?",
                "Identify the instrument in the music.",
                "Please name the instrument that plays.",
            ),
            held_out=(
                "Which instrument do you hear?",
                "Tell me which instrument is playing.",
                "What instrument is this note played on?",
            ),
        ),
    ),
    Question(
        name="pitch",
        corruption="another pitch",
        share=0.05,
        answer=note_pitch,
        label="pitch",
        wordings=Wordings(
            training=(
                "What is the MIDI pitch?",
                "Which MIDI note is this?",
                "What pitch does the note have?",
                "Tell me the pitch as a MIDI number.",
                "Which pitch is played?",
                "Name the MIDI pitch of the note.",
                "What is the pitch of this note?",
                "Give the MIDI number of the note.",
                "How high is the note as a MIDI number?",
                "Which MIDI number does the pitch have?",
            ),
            held_out=(
                "Which MIDI note is played?",
                "Tell me the pitch of this note.",
                "Give the pitch as a MIDI number.",
            ),
        ),
    ),
    Question(
        name="event",
        corruption="hallucinated sound",
        share=0.14,
        answer=only_event,
        label="events",
        wordings=Wordings(
            training=(
                "What sound is this?",
                "Which sound do you hear?",
                "Name the sound.",
                "What kind of sound is it?",
                "Tell me the sound.",
                "Identify the sound in the audio.",
                "Which sound is in the audio?",
                "What is that sound?",
                "Say which sound this is.",
                "Please name the sound you hear.",
            ),
            held_out=(
                "Which sound is this?",
                "Tell me which sound you hear.",
                "What kind of sound is in the audio?",
            ),
        ),
    ),
    Question(
        name="nature",
        corruption="hallucinated sound",
        share=0.04,
        answer=nature,
        label=None,
        wordings=Wordings(
            training=(
                "Is this speech, music or a sound?",
                "Do you hear speech, music or a sound?",
                "Is it music, speech or a sound?",
                "Say whether this is speech, music or a sound.",
                "Which is it: speech, music or a sound?",
                "Is there speech, music or a sound in the audio?",
                "Tell me whether you hear music, speech or a sound.",
                "What kind of audio is it: speech, music or a sound?",
            ),
            held_out=(
                "Tell me whether this is speech, music or a sound.",
                "Which kind of audio is this: speech, music or a sound?",
            ),
        ),
    ),
)
