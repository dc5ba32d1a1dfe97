import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.tasks.registry import TASKS, find_task

# Rows 1-31 of table 1 of arXiv:2311.07919 with the tokens of the released vocabulary; language is "en",
# the target language "de", the question "Q?".
PREFIXES = {
    "asr": "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>",
    "s2tt": "<|startoftranscript|><|en|><|translate|><|de|><|notimestamps|><|itn|>",
    "osr": "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|overlapped_speech|>",
    "dasr": "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>",
    "srwt-en": "<|startoftranscript|><|en|><|transcribe|><|en|><|timestamps|>",
    "srwt-zh": "<|startoftranscript|><|zh|><|transcribe|><|zh|><|timestamps|>",
    "did": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|dialect|>",
    "lid": "<|startoftranscript|>",
    "sgc": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|speaker_meta|>",
    "er": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|emotion_recognition|>",
    "sv": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|speaker_verification|>",
    "sd": "<|startofanalysis|><|en|><|keyword|><|en|><|timestamps|><|speaker_diarization|>",
    "ser": "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|named_entity_recognition|>",
    "ks": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|keyword_spotting|>",
    "ic": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|speech_understanding|>",
    "sf": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|speech_understanding|>",
    "sap": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|speaker_meta|>",
    "vsc": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|vocal_classification|>",
    "aac": "<|startofanalysis|><|unknown|><|caption|><|en|><|notimestamps|><|caption_clotho|>",
    "sec": "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|event|>",
    "asc": "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|scene|>",
    "sed": "<|startofanalysis|><|unknown|><|keyword|><|en|><|timestamps|><|audio_grounding|>",
    "aqa": "<|startofanalysis|><|en|><|question|>Q?<|answer|>",
    "sid": "<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|song_meta|>",
    "smer": "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|emotion_recognition|>",
    "mc": "<|startofanalysis|><|unknown|><|caption|><|en|><|notimestamps|><|music_description|>",
    "mic": "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|instrument|>",
    "mna": "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|note_analysis|>",
    "mgr": "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|song_meta|>",
    "mr": "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|song_meta|>",
    "mqa": "<|startofanalysis|><|unknown|><|question|>Q?<|answer|>",
}


def test_the_tasks_have_the_31_rows_of_the_table_in_order():
    rows = {task.name: task.row for task in TASKS.values() if task.row is not None}
    assert list(rows) == list(PREFIXES)
    assert list(rows.values()) == list(range(1, 32))


@pytest.mark.parametrize("name", PREFIXES)
def test_every_task_has_the_tags_of_the_table(name):
    tags = TASKS[name].tags.format(language="en", target_language="de", question="Q?")
    assert tags == PREFIXES[name]


def test_the_error_for_an_unknown_task_suggests_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'asr'"):
        find_task("ars")
