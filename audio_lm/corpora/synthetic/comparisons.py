"""Questions about two clips, in several wordings, and rules for their answers.

A comparison is based on a question of ``questions.py`` that both clips answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from audio_lm.corpora.synthetic.wordings import Wordings

MIN_HIGHER = 3  # semitones between two notes of a comparison


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Question about two clips, each of which answers ``question``."""

    question: str
    answers: tuple[str, str]
    """Answers, drawn equally often."""
    answer: Callable[[str, str], str | None]
    """Answer from those of the two clips; None if it is not clear."""
    wordings: Wordings


def same(first: str, second: str) -> str:
    """Yes if two clips have the same answer, else no."""
    return "yes" if first == second else "no"


def both_speech(first: str, second: str) -> str:
    """Yes if both clips are speech, else no."""
    return "yes" if first == second == "speech" else "no"


def higher(first: str, second: str) -> str | None:
    """Name of the clip with the higher note; None if they are close."""
    difference = int(first) - int(second)
    if abs(difference) < MIN_HIGHER:
        return None
    return "audio 1" if difference > 0 else "audio 2"


COMPARISONS = (
    Comparison(
        question="pitch",
        answers=("audio 1", "audio 2"),
        answer=higher,
        wordings=Wordings(
            training=(
                "Which of the two has a higher pitch?",
                "Which note is higher?",
                "Which audio has the higher note?",
                "Which of the two notes is higher?",
                "In which audio is the pitch higher?",
                "Tell me which audio is higher.",
                "Where is the note higher?",
                "Name the audio with the higher pitch.",
            ),
            held_out=("Which audio has the higher pitch?", "In which audio is the note higher?"),
        ),
    ),
    Comparison(
        question="nature",
        answers=("yes", "no"),
        answer=both_speech,
        wordings=Wordings(
            training=(
                "Do both audios contain speech?",
                "Is there speech in both audios?",
                "Do you hear speech in both?",
                "Does a person speak in both audios?",
                "Are both audios speech?",
                "Do both contain a voice?",
                "Is speech heard in both audios?",
                "Do the two audios both contain speech?",
            ),
            held_out=("Do you hear speech in both audios?", "Is there speech in both?"),
        ),
    ),
    Comparison(
        question="language",
        answers=("yes", "no"),
        answer=same,
        wordings=Wordings(
            training=(
                "Are both audios in the same language?",
                "Is the language the same in both?",
                "Do both speakers use the same language?",
                "Do you hear the same language twice?",
                "Is it the same language in both audios?",
                "Do the two audios have the same language?",
                "Do both persons speak the same language?",
                "Are the two languages the same?",
            ),
            held_out=(
                "Is the language the same in both audios?",
                "Do the two speakers use the same language?",
            ),
        ),
    ),
    Comparison(
        question="gender",
        answers=("yes", "no"),
        answer=same,
        wordings=Wordings(
            training=(
                "Are both speakers of the same gender?",
                "Is the gender the same in both?",
                "Do both speakers have the same gender?",
                "Do the two voices have the same gender?",
                "Are the two genders the same?",
                "Is it the same gender in both audios?",
                "Are both persons of the same gender?",
                "Do you hear the same gender twice?",
            ),
            held_out=("Is the gender the same in both audios?", "Do both persons have the same gender?"),
        ),
    ),
    Comparison(
        question="instrument",
        answers=("yes", "no"),
        answer=same,
        wordings=Wordings(
            training=(
                "Do both audios have the same instrument?",
                "Is the instrument the same in both?",
                "Does the same instrument play twice?",
                "Is it the same instrument in both audios?",
                "Are the two instruments the same?",
                "Do you hear the same instrument twice?",
                "Are both notes played on the same instrument?",
                "Does one instrument play both notes?",
            ),
            held_out=(
                "Is the instrument the same in both audios?",
                "Does the same instrument play both notes?",
            ),
        ),
    ),
    Comparison(
        question="event",
        answers=("yes", "no"),
        answer=same,
        wordings=Wordings(
            training=(
                "Do both audios contain the same sound?",
                "Is the sound the same in both?",
                "Do you hear the same sound twice?",
                "Is it the same sound in both audios?",
                "Are the two sounds the same?",
                "Are both sounds of the same kind?",
                "Do the two audios have the same sound?",
                "Is the same sound heard twice?",
            ),
            held_out=("Is the sound the same in both audios?", "Do the two audios contain the same sound?"),
        ),
    ),
)

WHICH_AUDIO = Wordings(
    training=(
        "In audio {number}: {question}",
        "About audio {number}: {question}",
        "Listen to audio {number}. {question}",
    ),
    held_out=("Audio {number}: {question}",),
)
"""Wordings of a question about one of two clips."""
