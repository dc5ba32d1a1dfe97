"""Division of imported clips into train, validation and test, without a speaker or a recording in two of them.

Clips that share a speaker (or a recording) form a group, and a group is in one split. Groups are taken in the order of a
hash of their names, so that the same data always give the same splits.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lhotse.cut.data import DataCut

from audio_lm.common.errors import DataError, UserError
from audio_lm.data.manifest.line import recording_fields

Criterion = Literal["speaker", "recording"]
MAX_SHARE = 0.9  # of the clips, of validation and test together


@dataclass(frozen=True)
class SplitBy:
    """Property that keeps clips together, and the share of each split."""

    criterion: str
    """A ``Criterion``."""

    test: float = 0.0
    validation: float = 0.0

    def __post_init__(self) -> None:
        if self.criterion not in get_args(Criterion):
            raise UserError(
                f"split_by {self.criterion!r} -- expected {' or '.join(get_args(Criterion))}; correct it"
            )
        if min(self.test, self.validation) < 0 or not 0 < self.test + self.validation <= MAX_SHARE:
            raise UserError(
                f"test is {self.test} and validation {self.validation} -- expected shares such as 0.1, above 0 and at most "
                f"{MAX_SHARE} together; correct them"
            )

    @property
    def shares(self) -> dict[str, float]:
        """Share of the clips of each split besides train, largest need of groups first."""
        return {
            name: share for name, share in (("test", self.test), ("validation", self.validation)) if share
        }


def split_cuts(cuts: Sequence[DataCut], split_by: SplitBy) -> tuple[dict[str, list[DataCut]], str]:
    """Divide cuts into splits.

    Returns:
        The cuts of each split, in their order, and a sentence about the shares.

    Raises:
        DataError: a clip has no speaker, or there are fewer groups than splits.
    """
    names_of_cut = [_names(cut, split_by.criterion) for cut in cuts]
    nameless = [cut.id for cut, names in zip(cuts, names_of_cut, strict=True) if not names]
    if nameless:
        raise DataError(
            f"{len(nameless)} of {len(cuts)} clips have no speaker, such as {nameless[0]!r}, so they cannot be split by "
            f"speaker; give the column of speakers, or split by recording"
        )
    group_of = _groups(names_of_cut)
    sizes = dict[str, int]()
    for names in names_of_cut:
        group = group_of[names[0]]
        sizes[group] = sizes.get(group, 0) + 1
    split_of = assign_groups(sizes, split_by)
    divided: dict[str, list[DataCut]] = {name: [] for name in ("train", *split_by.shares)}
    for cut, names in zip(cuts, names_of_cut, strict=True):
        divided[split_of[group_of[names[0]]]].append(cut)
    counts = ", ".join(
        f"{name} {len(found)} clips ({len(found) / len(cuts):.1%}) of {list(split_of.values()).count(name)}"
        for name, found in divided.items()
    )
    return divided, f"split by {split_by.criterion}: {counts} of {len(sizes)} {split_by.criterion}s"


def assign_groups(sizes: Mapping[str, int], split_by: SplitBy) -> dict[str, str]:
    """Assign groups to splits, with shares of the clips as close to the requested ones as whole groups allow.

    Args:
        sizes: number of clips of each group.

    Raises:
        DataError: there are fewer groups than splits.
    """
    shares = split_by.shares
    if len(sizes) <= len(shares):
        other = " or split by recording" if split_by.criterion == "speaker" else " or use one split"
        raise DataError(
            f"there are {len(sizes)} {split_by.criterion}s for {len(shares) + 1} splits -- expected at least one in each; "
            f"import more data{other}"
        )
    left = sorted(sizes, key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest())
    split_of = dict[str, str]()
    total = sum(sizes.values())
    num_reserved = len(shares)  # groups that later splits and train need
    for split, share in shares.items():
        chosen = _choose(left, sizes, share * total, max_groups=len(left) - num_reserved)
        split_of |= dict.fromkeys(chosen, split)
        left = [name for name in left if name not in split_of]
        num_reserved -= 1
    return split_of | dict.fromkeys(left, "train")


def _choose(names: Sequence[str], sizes: Mapping[str, int], wanted: float, *, max_groups: int) -> list[str]:
    """Choose groups, in order, of which each brings the sum closer to the wanted number; at least the smallest one."""
    chosen, count = list[str](), 0
    for name in names:
        if len(chosen) < max_groups and abs(count + sizes[name] - wanted) < abs(count - wanted):
            chosen.append(name)
            count += sizes[name]
    return chosen or [min(names, key=lambda name: sizes[name])]


def _names(cut: DataCut, criterion: str) -> list[str]:
    """Speakers of a cut, or its audio files; a text-only cut is a recording of its own."""
    if criterion == "speaker":
        speakers = [supervision.speaker for supervision in cut.supervisions]
        return [speaker for speaker in speakers if speaker] if all(speakers) else []
    if not cut.has_recording:
        return [cut.id]
    custom = cut.custom or {}
    recordings = [cut.recording, *(custom[name] for name in recording_fields(custom))]
    return [str(source.source) for recording in recordings for source in recording.sources]


def _groups(names_of_cut: Iterable[Sequence[str]]) -> dict[str, str]:
    """Name -> the first name of its group; names in one cut are of one group."""
    parents = dict[str, str]()

    def root(name: str) -> str:
        while (parent := parents.setdefault(name, name)) != name:
            parents[name] = name = parents[parent]
        return name

    for names in names_of_cut:
        for name in names:
            first, second = sorted((root(names[0]), root(name)))
            parents[second] = first
    return {name: root(name) for name in parents}
