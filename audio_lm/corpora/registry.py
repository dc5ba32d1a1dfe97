"""Registry of the corpora that can be prepared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.extensions import Registry
from audio_lm.common.protocols import Report
from audio_lm.corpora import fsdd
from audio_lm.corpora.published import (
    airbench,
    aishell,
    aishell2,
    audiocaps,
    clotho,
    clotho_aqa,
    cochlscene,
    commonvoice,
    covost2,
    esc50,
    fleurs,
    gtzan,
    librispeech,
    meld,
    mmar,
    mmau,
    mmau_pro,
    music_avqa,
    musiccaps,
    nsynth,
    speech_commands,
    tut2017,
    vocalsound,
    voxceleb,
)
from audio_lm.corpora.published.base import Facts, PublishedCorpus
from audio_lm.corpora.synthetic import synthetic


@dataclass(frozen=True)
class Corpus:
    """A corpus, its settings and the function that writes it."""

    name: str

    facts: Facts
    """Description, licence, tasks and size."""

    version: int
    """Increased whenever the same settings give other clips."""

    read_settings: Callable[[Mapping[str, Any]], Any]
    """Parse a recipe's settings into a frozen dataclass; raises RecipeError."""

    write: Callable[[Path, Path, Any, Report], None]
    """Write manifests to the first folder; their paths are in the second, final one."""

    conditions: Callable[[], Mapping[str, Any]] = dict
    """Conditions outside the settings that change the clips, such as installed packages."""


PUBLISHED: tuple[PublishedCorpus, ...] = (
    airbench.CORPUS,
    aishell.CORPUS,
    aishell2.CORPUS,
    audiocaps.CORPUS,
    clotho.CORPUS,
    clotho_aqa.CORPUS,
    cochlscene.CORPUS,
    commonvoice.CORPUS,
    covost2.CORPUS,
    esc50.CORPUS,
    fleurs.CORPUS,
    gtzan.CORPUS,
    librispeech.CORPUS,
    meld.CORPUS,
    mmar.CORPUS,
    mmau.CORPUS,
    mmau_pro.CORPUS,
    music_avqa.CORPUS,
    musiccaps.CORPUS,
    nsynth.CORPUS,
    speech_commands.CORPUS,
    tut2017.CORPUS,
    vocalsound.CORPUS,
    voxceleb.CORPUS,
)

CORPORA = Registry(
    "corpus",
    (
        Corpus(
            name="synthetic",
            facts=Facts(
                what="speech in eight languages, sounds, music and conversations made from a seed",
                licence="yours; espeak-ng (GPL-3.0-or-later), which speaks, is not part of it",
                url="made here",
            ),
            version=synthetic.VERSION,
            read_settings=synthetic.read_settings,
            write=synthetic.write,
            conditions=synthetic.conditions,
        ),
        Corpus(
            name="fsdd",
            facts=Facts(
                what="Free Spoken Digit Dataset: 3 000 English digits by six speakers, and their strings",
                licence="CC BY-SA 4.0",
                url="https://github.com/Jakobovski/free-spoken-digit-dataset",
                tasks=("asr", "srwt-en", "ks"),
            ),
            version=fsdd.VERSION,
            read_settings=fsdd.read_settings,
            write=fsdd.write,
        ),
        *(
            Corpus(corpus.name, corpus.facts, corpus.version, corpus.read_settings, corpus.write)
            for corpus in PUBLISHED
        ),
    ),
    attribute="CORPORA",
)


def find_corpus(name: str) -> Corpus:
    """Look up a corpus by name.

    Raises:
        RecipeError: the name is unknown.
    """
    if name not in CORPORA:
        raise RecipeError(CORPORA.unknown(name, see="audio_lm/corpora/"))
    return CORPORA[name]
