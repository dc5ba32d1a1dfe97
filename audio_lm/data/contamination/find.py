"""Compare the clips of benchmarks with those of training: a pass over all manifests, then hashes of clips that may be equal."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lhotse.cut import Cut

from audio_lm.common.audio_units import Seconds
from audio_lm.common.languages import UNKNOWN_LANGUAGE
from audio_lm.common.source_name import corpus_of
from audio_lm.data.contamination.places import ClipPlace, places_of
from audio_lm.data.contamination.sample_hashes import UNREAD, hashes_of
from audio_lm.data.contamination.texts import Row, TextIndex, TextMatch
from audio_lm.data.manifest.cuts import num_samples_of
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.data.manifest.lhotse_cut import CutFacts
from audio_lm.tasks.labels import LABELS
from audio_lm.tasks.registry import CHAT, find_task
from audio_lm.tasks.task import Task

MIN_OVERLAP = 0.5
"""Part of a clip that another clip of the same file has to share; neighbouring segments of a recording may overlap a little."""

CONVERSATION = "conversation"
FREE_TEXTS = frozenset({"text", "texts", "units", "translation", "caption", "answer", CONVERSATION})
"""Labels with words that were spoken or written; a choice of labels is no text that can be copied."""

Speaker = tuple[str, str]
"""Corpus and name; the same name in two corpora is another person."""


class ComparedSet(NamedTuple):
    """A cut-set with the tasks whose references are compared."""

    source: str
    tasks: tuple[str, ...]
    rows: Rows


class AudioMatch(NamedTuple):
    """A clip of a benchmark that is in the training data."""

    test: Row
    training: Row


class _Clip(NamedTuple):
    set: int
    row: int
    clip: int
    num_samples: int


@dataclass
class Matches:
    """Clips, texts and speakers that benchmarks and training have in common; rows are numbers of a set and of a row in it."""

    audio: list[AudioMatch] = field(default_factory=list)
    texts: list[TextMatch] = field(default_factory=list)

    repeated: set[Row] = field(default_factory=set)
    """Rows of benchmarks whose text is a phrase that training repeats; not counted as a match."""

    speakers: dict[Speaker, set[int]] = field(default_factory=dict)
    """Speaker -> training sets with clips of the speaker."""

    test_speakers: dict[int, dict[Speaker, int]] = field(default_factory=dict)
    """Set of a benchmark -> its speakers with their numbers of clips."""

    num_texts: Mapping[int, int] = field(default_factory=dict)
    """Set of a benchmark -> rows whose text is long enough to be compared."""

    num_unread: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Set of a benchmark -> clips that were not compared, because they cannot be read or are silent."""


def find_matches(
    tests: Sequence[ComparedSet], training: Sequence[ComparedSet], *, tasks: Mapping[str, Task], cache: Path
) -> Matches:
    """Find the rows of benchmarks whose audio, text or speaker is in the training data.

    Args:
        tasks: name -> task, those of a recipe's own included.
        cache: folder of all indexes, which keeps the hashes of samples.
    """
    search = _Search(tasks)
    for number, each in enumerate(tests):
        search.add_test_set(number, each)
    for number, each in enumerate(training):
        search.add_training_set(number, each)
    matches = search.matches
    matches.audio += _equal_samples(search, tests, training, cache)
    matches.texts = list(search.texts.matches())
    matches.repeated = search.texts.repeated()
    matches.num_texts = search.texts.num_compared
    return matches


class _Search:
    """Columns of the manifests: texts, speakers, places and lengths of clips."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self.tasks = tasks
        self.texts = TextIndex()
        self.matches = Matches()
        self.test_clips: list[_Clip] = []
        self.training_clips: list[_Clip] = []  # only those with the length of a clip of a benchmark
        self._lengths: set[int] = set()
        self._places: dict[str, list[tuple[Seconds, Seconds, Row]]] = defaultdict(list)

    def add_test_set(self, number: int, tests: ComparedSet) -> None:
        """Add all rows of a benchmark."""
        corpus = corpus_of(tests.source)
        speakers = self.matches.test_speakers[number] = defaultdict(int)
        for row in range(len(tests.rows)):
            cut = tests.rows.facts(row)
            for text, language in references_of(cut, tests.tasks, self.tasks):
                self.texts.add_test((number, row), text, language)
            for name in _speakers(cut):
                speakers[corpus, name] += 1
            for clip, num_samples in enumerate(num_samples_of(cut)):
                self.test_clips.append(_Clip(number, row, clip, num_samples))
                self._lengths.add(num_samples)
            for place in filter(None, places_of(cut)):
                self._places[place.path].append((place.start, place.end, (number, row)))

    def add_training_set(self, number: int, training: ComparedSet) -> None:
        """Compare all rows of a training set with those of the benchmarks."""
        corpus = corpus_of(training.source)
        for row in range(len(training.rows)):
            cut = training.rows.facts(row)
            for text, language in references_of(cut, training.tasks, self.tasks):
                self.texts.add_training((number, row), text, language)
            lengths = num_samples_of(cut)
            if not lengths:
                continue
            for name in _speakers(cut):
                self.matches.speakers.setdefault((corpus, name), set()).add(number)
            self.training_clips += [
                _Clip(number, row, clip, num_samples)
                for clip, num_samples in enumerate(lengths)
                if num_samples in self._lengths
            ]
            for place in filter(None, places_of(cut)):
                if place.path in self._places:
                    self.matches.audio += self._same_file(place, (number, row))

    def _same_file(self, place: ClipPlace, training: Row) -> Iterator[AudioMatch]:
        for start, end, test in self._places[place.path]:
            shared = min(end, place.end) - max(start, place.start)
            if shared >= MIN_OVERLAP * (end - start):
                yield AudioMatch(test, training)


def references_of(
    cut: Cut | CutFacts, names: Sequence[str], tasks: Mapping[str, Task]
) -> set[tuple[str, str]]:
    """Distinct free texts in the references of a cut under some tasks, each with its language.

    A reference that is composed of labels, such as the pitch and the instrument of a note, is equal by design.
    """
    labels = labels_of(cut)
    found: set[tuple[str, str]] = set()
    for label in _free_texts(names, tasks):
        value = labels.get(label)
        key = "target_language" if label == "translation" else "language"
        language = str(labels.get(key, UNKNOWN_LANGUAGE))
        if label == CONVERSATION:
            texts = [_last_turn(value)]
        elif label == "units":
            texts = [" ".join(str(word) for word, *_ in value or ())]
        else:
            texts = [
                text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)
            ]
        found |= {(text, language) for text in texts}
    return found


def _free_texts(names: Sequence[str], tasks: Mapping[str, Task]) -> list[str]:
    """Labels of some tasks whose value is free text, those of the user's own included."""
    needs = {
        label
        for name in names
        for label in ([CONVERSATION] if name == CHAT else find_task(name, tasks).needs)
    }
    return [label for label in sorted(needs) if label in FREE_TEXTS or label not in LABELS]


def _last_turn(conversation: Any) -> str:
    """Answer of a conversation, empty if there is none; planning and training report it."""
    try:
        return str(conversation[-1]["content"][0]["text"])
    except (TypeError, IndexError, KeyError):
        return ""


def _speakers(cut: Cut | CutFacts) -> set[str]:
    return {supervision.speaker for supervision in cut.supervisions if supervision.speaker}


def _equal_samples(
    search: _Search, tests: Sequence[ComparedSet], training: Sequence[ComparedSet], cache: Path
) -> Iterator[AudioMatch]:
    """Clips with equal samples; those of the same place in a file are found already."""
    found = {(match.test, match.training) for match in search.matches.audio}
    possible = {clip.num_samples for clip in search.training_clips}
    ours = [clip for clip in search.test_clips if clip.num_samples in possible]
    theirs = search.training_clips
    for is_probe in (True, False):
        hashed = _hashed(ours, tests, is_probe, cache)
        if is_probe:
            for clip in (clip for clip in ours if hashed[clip] == UNREAD):
                search.matches.num_unread[clip.set] += 1
        others = _hashed(theirs, training, is_probe, cache)
        known, seen = set(others.values()) - {UNREAD}, set(hashed.values()) - {UNREAD}
        ours = [clip for clip in ours if hashed[clip] in known]
        theirs = [clip for clip in theirs if others[clip] in seen]
    ours_by_key = defaultdict(list)
    for clip in ours:
        ours_by_key[clip.num_samples, hashed[clip]].append(clip)
    for other in theirs:
        for clip in ours_by_key[other.num_samples, others[other]]:
            match = AudioMatch((clip.set, clip.row), (other.set, other.row))
            if tuple(match) not in found:
                yield match


def _hashed(
    clips: Sequence[_Clip], sets: Sequence[ComparedSet], is_probe: bool, cache: Path
) -> dict[_Clip, int]:
    """Hash of each clip."""
    hashed: dict[_Clip, int] = {}
    by_set: dict[int, list[_Clip]] = defaultdict(list)
    for clip in clips:
        by_set[clip.set].append(clip)
    for number, of_set in by_set.items():
        places = [(clip.row, clip.clip) for clip in of_set]
        hashes = hashes_of(sets[number].rows, places, is_probe=is_probe, cache=cache).tolist()
        hashed |= zip(of_set, hashes, strict=True)
    return hashed
