"""Wordings of the questions of ``facts.py``.

A held-out wording is used in validation and test only, and consists of words of the training wordings.
"""

# ruff: noqa: E501

from audio_lm.corpora.synthetic.wordings import Wordings

_TRAINING = {
    "text": "What is spoken?|What does the person say?|Write down what is spoken.|Which words do you hear?|Please transcribe it.",
    "num_words": "How many words are spoken?|Count the words.|Tell me the number of words.|What is the number of words?",
    "language": "Which language is spoken?|What language is this?|Name the language.|In which language does the person speak?",
    "gender": "Is the voice male or female?|What is the gender of the speaker?|Tell me the gender of the voice.|Which gender does the voice have?",
    "age": "How old is the speaker?|What is the age of the speaker?|Tell me the age of the person.",
    "dialect": "Which accent does the speaker have?|What dialect is spoken?|Name the accent of the speaker.",
    "emotion": "Which emotion does the speaker have?|How does the person feel?|What is the emotion of the voice?|Name the emotion.",
    "num_speakers": "How many people speak?|Count the speakers.|How many speakers do you hear?",
    "keyword": "Which keyword is spoken?|What is the keyword?|Name the keyword.",
    "first_word_times": "When is the first word spoken?|Where is the first word?|Give the start and the end of the first word.",
    "last_word_times": "When is the last word spoken?|Where is the last word?|Give the start and the end of the last word.",
    "vocal_sound": "Which sound does the person make?|What vocal sound is this?|Name the vocal sound.",
    "events": "Which sounds do you hear?|List the sounds.|What sounds are in the audio?|Name all sounds you hear.",
    "num_events": "How many sounds are there?|Count the sounds.|Tell me the number of sounds.",
    "first_event": "Which sound comes first?|What do you hear first?|Name the first sound.",
    "last_event": "Which sound comes last?|What do you hear last?|Name the last sound.",
    "event_times": "When is the first sound audible?|Give the start and the end of the first sound.|From when to when is the first sound?",
    "scene": "Where was this recorded?|Which scene is this?|What is the place of the recording?|Name the scene.",
    "caption": "Describe the audio.|What happens in the audio?|Give a caption of the audio.|Say in a sentence what you hear.",
    "instrument": "Which instrument plays?|What instrument do you hear?|Name the instrument.",
    "pitch": "What is the MIDI pitch?|Which MIDI note is played?|Give the pitch as a MIDI number.",
    "genre": "Which genre is the music?|What kind of music is this?|Name the genre.",
    "mood": "What is the mood of the music?|Which mood does the music have?|Name the mood.",
    "speaker": "Who speaks?",
    "length": "How long is it?",
    "compare_speaker": "Is it the same speaker in both?|Does the same person speak twice?|Are both voices of one person?",
    "compare_language": "Is the language the same in both?|Do both speakers use the same language?|Are the two languages the same?",
    "compare_gender": "Do both speakers have the same gender?|Is the gender the same in both?|Are the two genders the same?",
    "compare_emotion": "Is the emotion the same in both?|Do both speakers have the same emotion?|Are the two emotions the same?",
    "compare_events": "Are the sounds the same in both?|Do you hear the same sounds twice?|Do both have the same sounds?",
    "compare_scene": "Is the scene the same in both?|Were both recorded in the same place?|Are the two scenes the same?",
    "compare_instrument": "Does the same instrument play twice?|Is the instrument the same in both?|Are the two instruments the same?",
    "compare_genre": "Is the genre the same in both?|Do both have the same genre?|Are the two genres the same?",
    "compare_length": "Which is longer?|Which of the two lasts longer?|Which audio is longer?",
    "compare_num_words": "Which has more words?|In which of the two are more words spoken?|Which audio has more words?",
}
_HELD_OUT = {
    "text": "Please write down the words.",
    "num_words": "Tell me how many words are spoken.",
    "language": "What language is spoken?",
    "gender": "Tell me the gender of the speaker.",
    "events": "Which sounds are in the audio?",
    "scene": "What scene is this?",
    "caption": "Describe what you hear.",
}

WORDINGS = {
    name: Wordings(
        tuple(texts.split("|")), (_HELD_OUT[name],) if name in _HELD_OUT else tuple(texts.split("|")[-1:])
    )
    for name, texts in _TRAINING.items()
}
"""Name of a question -> wordings. Without one that is held out, the last of training is used in its place."""
