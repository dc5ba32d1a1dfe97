"""Conversations about two or three clips, for the task chat.

The last question is about one clip of several, or about all of them: which clip has a property, which of two things
comes first, a comparison. In a third of the conversations each clip comes with a question of its own, and the last
question goes back to an earlier clip.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from audio_lm.corpora.synthetic.comparisons import WHICH_AUDIO
from audio_lm.corpora.synthetic.known_clips import (
    Exchange,
    KnownClip,
    Pools,
    choose_clip,
    choose_question,
    conversation_labels,
    draws_of_subset,
    exchange_about,
    weakest_honesty,
)
from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.wordings import Wordings
from audio_lm.corpora.synthetic.writing import CutWriter

SUBSET = "several"
THREE_CLIPS_SHARE = 0.6
SHARE_OF_FORM = {"one_of_all": 0.25, "follow_up": 0.3, "which": 0.2, "first": 0.1, "compare": 0.15}
MAX_MORE = 3  # questions before the last one, about clips that are given together
MAX_DRAWS = 20  # of clips, until one answer is that of a single clip
NUMBERS = ("1", "2", "3")

WHICH = Wordings(
    training=(
        "Which audio has {thing}?",
        "In which audio do you hear {thing}?",
        "Name the audio with {thing}.",
        "Where do you hear {thing}?",
        "Tell me which audio has {thing}.",
    ),
    held_out=("In which audio is {thing}?", "Tell me in which audio you hear {thing}."),
)
FIRST = Wordings(
    training=(
        "Which comes first, {thing} or {other}?",
        "What do you hear first, {thing} or {other}?",
        "Do you hear {thing} or {other} first?",
    ),
    held_out=("Which do you hear first, {thing} or {other}?",),
)
BETWEEN = Wordings(
    training=(
        "Compare audio {first} and audio {second}. {question}",
        "About audio {first} and audio {second}: {question}",
    ),
    held_out=("Audio {first} and audio {second}: {question}",),
)

Form = Callable[[Pools, int, SplitRandom], list[Exchange] | None]


def write_several(writer: CutWriter, *, clips: Mapping[str, int], seed: int) -> None:
    """Write ``several`` in three splits, from the clips written before; see ``draws_of_subset``."""
    for split, pools, random in draws_of_subset(writer, SUBSET, clips=clips, seed=seed):
        exchanges = several_exchanges(pools, random)
        clips_of_row = [clip.cut for exchange in exchanges for clip in exchange.new_clips]
        writer.add_conversation(f"{SUBSET}-{split}", clips_of_row, conversation_labels(exchanges))


def several_exchanges(pools: Pools, random: SplitRandom) -> list[Exchange]:
    """Draw the questions and answers of one conversation about two or three clips."""
    num_clips = 3 if random.bernoulli(THREE_CLIPS_SHARE) else 2
    form = FORMS[random.weighted_choice(tuple(SHARE_OF_FORM), tuple(SHARE_OF_FORM.values()))]
    exchanges = form(pools, num_clips, random) or _one_of_all(pools, num_clips, random)
    return _with_more(pools, exchanges, random)


def _one_of_all(pools: Pools, num_clips: int, random: SplitRandom) -> list[Exchange]:
    """All clips at once, and one or two questions about single ones."""
    clips = _draw_clips(pools, num_clips, random)
    places = random.choose_distinct(range(num_clips), random.integer(1, 2))
    first, *others = [_about(pools, clips, place, random) for place in places]
    return [replace(first, new_clips=tuple(clips)), *others]


def _follow_up(pools: Pools, num_clips: int, random: SplitRandom) -> list[Exchange]:
    """A question with each clip, and a last one about an earlier clip."""
    exchanges: list[Exchange] = []
    clips: list[KnownClip] = []
    for _ in range(num_clips):
        question = choose_question(pools, random)
        clips.append(choose_clip(pools, question, random))
        exchanges.append(exchange_about(clips[-1], question, random, (clips[-1],)))
    place = random.integer(0, num_clips - 2)
    return [*exchanges, _about(pools, clips, place, random, other_than=exchanges[place].about)]


def _which(pools: Pools, num_clips: int, random: SplitRandom) -> list[Exchange] | None:
    """The number of the clip with a property that no other clip has."""
    for _ in range(MAX_DRAWS):
        clips = _draw_clips(pools, num_clips, random)
        if exchange := _number_of_one(pools, clips, random):
            return [replace(exchange, new_clips=tuple(clips))]
    return None


def _first(pools: Pools, num_clips: int, random: SplitRandom) -> list[Exchange] | None:
    """The first of two things; each is in one clip only."""
    for _ in range(MAX_DRAWS):
        clips = _draw_clips(pools, num_clips, random)
        places = sorted(random.choose_distinct(range(num_clips), 2))
        names = [_distinguishing(pools, clips, place, random) for place in places]
        if None in names:
            continue
        things = [_thing(pools, clips[place], str(name)) for place, name in zip(places, names, strict=True)]
        answers = tuple(thing.removeprefix("the ") for thing in things)
        in_order = random.choose_distinct(things, 2)
        words = FIRST.choose(random, thing=in_order[0], other=in_order[1])
        honesty = weakest_honesty(
            clips[place].honesty[str(name)] for place, name in zip(places, names, strict=True)
        )
        return [Exchange(words, answers[0], honesty, tuple(clips), answers)]
    return None


def _compare(pools: Pools, num_clips: int, random: SplitRandom) -> list[Exchange] | None:
    """A comparison of two of the clips; its two answers are equally frequent."""
    possible = [
        comparison
        for comparison in pools.table.comparisons
        if len(pools.clips.get(comparison.question, ())) > 1
    ]
    if not possible:
        return None
    comparison = random.choice(possible)
    target, question = random.choice(comparison.answers), pools.table.question(comparison.question)
    for _ in range(MAX_DRAWS):
        clips = _draw_clips(pools, num_clips, random)
        first, second = sorted(random.choose_distinct(range(num_clips), 2))
        clips[first], clips[second] = (choose_clip(pools, question, random) for _ in range(2))
        if random.bernoulli(0.5) and target == "yes":  # two draws are rarely the same
            same = pools[question.name][clips[first].answers[question.name]]
            clips[second] = random.choice(same)
        pair = (clips[first], clips[second])
        answer = comparison.answer(*(clip.answers[question.name] for clip in pair))
        if answer != target or pair[0] is pair[1]:
            continue
        number = {"audio 1": f"audio {first + 1}", "audio 2": f"audio {second + 1}"}
        options = tuple(number.get(option, option) for option in comparison.answers)
        words = BETWEEN.choose(
            random,
            first=NUMBERS[first],
            second=NUMBERS[second],
            question=comparison.wordings.choose(random),
        )
        honesty = weakest_honesty(clip.honesty[question.name] for clip in pair)
        return [Exchange(words, number.get(target, target), honesty, tuple(clips), options)]
    return None


FORMS: Mapping[str, Form] = {
    "one_of_all": _one_of_all,
    "follow_up": _follow_up,
    "which": _which,
    "first": _first,
    "compare": _compare,
}


def _draw_clips(pools: Pools, num_clips: int, random: SplitRandom) -> list[KnownClip]:
    return [choose_clip(pools, choose_question(pools, random), random) for _ in range(num_clips)]


def _about(
    pools: Pools, clips: Sequence[KnownClip], place: int, random: SplitRandom, *, other_than: str = ""
) -> Exchange:
    """Question about one of the clips; another than that of a name, if the clip answers one."""
    clip = clips[place]
    known = pools.table.names_for(clip)
    names = [name for name in known if name != other_than] or known
    exchange = exchange_about(clip, pools.table.question(random.choice(names)), random)
    return replace(
        exchange,
        question=WHICH_AUDIO.choose(random, number=NUMBERS[place], question=exchange.question),
    )


def _number_of_one(pools: Pools, clips: Sequence[KnownClip], random: SplitRandom) -> Exchange | None:
    """Question whose answer is the number of one of the clips; None if the one drawn has no property of its own."""
    place = random.integer(0, len(clips) - 1)
    name = _distinguishing(pools, clips, place, random)
    if name is None:
        return None
    words = WHICH.choose(random, thing=_thing(pools, clips[place], name))
    options = tuple(f"audio {number}" for number in NUMBERS[: len(clips)])
    return Exchange(words, options[place], clips[place].honesty[name], options=options)


def _with_more(pools: Pools, exchanges: list[Exchange], random: SplitRandom) -> list[Exchange]:
    """Add questions about clips that are given together: a question has far fewer tokens than the clips."""
    first, *others = exchanges
    clips = first.new_clips
    if len(clips) < 2:
        return exchanges
    more = []
    for _ in range(random.integer(0, MAX_MORE)):
        number = _number_of_one(pools, clips, random) if random.bernoulli(0.5) else None
        more.append(number or _about(pools, clips, random.integer(0, len(clips) - 1), random))
    start, *rest = [*more, replace(first, new_clips=())]
    return [replace(start, new_clips=clips), *rest, *others]


def _distinguishing(pools: Pools, clips: Sequence[KnownClip], place: int, random: SplitRandom) -> str | None:
    """Name of a question that no other clip answers as this one."""
    others = [clip for index, clip in enumerate(clips) if index != place]
    # "two three" is also in a clip of "one two three".
    names = [
        name
        for name, answer in clips[place].answers.items()
        if name in pools.table.things and not any(answer in clip.answers.get(name, "") for clip in others)
    ]
    return random.choice(names) if names else None


def _thing(pools: Pools, clip: KnownClip, name: str) -> str:
    return pools.table.things[name].format(answer=clip.answers[name])
