"""TUT Acoustic Scenes 2017: 15 classes, 10 s clips.

Layout: ``TUT-acoustic-scenes-2017-<development|evaluation>/meta.txt`` and ``audio/``. The development
set is divided by the publisher's first fold: its test part is for validation here.

Source: Mesaros et al., DCASE 2017; https://zenodo.org/records/400515 and 1040168; 108 test clips per scene.
"""

from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import CutSetWriter, Facts, PublishedCorpus, Subset, find_folders

DEVELOPMENT, EVALUATION = "TUT-acoustic-scenes-2017-development", "TUT-acoustic-scenes-2017-evaluation"
HELD_OUT = Path("evaluation_setup") / "fold1_evaluate.txt"


def read(source: Path, writer: CutSetWriter) -> None:
    """Read the existing sets."""
    for root in find_folders(source, DEVELOPMENT, EVALUATION):
        for name in (DEVELOPMENT, EVALUATION):
            folder = root / name
            held_out = _read_files(folder / HELD_OUT)
            for file, scene in _read_rows(folder / "meta.txt"):
                split = "test" if name == EVALUATION else "validation" if file in held_out else "train"
                prefix = "eval-" if name == EVALUATION else ""
                writer.add(f"scenes-{split}", f"{prefix}{Path(file).stem}", folder / file, {"scene": scene})


def _read_rows(path: Path) -> list[tuple[str, str]]:
    """File and scene of each line."""
    rows = []
    for number, line in enumerate(
        path.read_text(encoding="utf-8").splitlines() if path.is_file() else (), start=1
    ):
        fields = line.split("\t")
        if len(fields) < 2:
            raise DataError(
                f"{path}:{number}: expected a file and a scene, separated by a tab; repair the line"
            )
        rows.append((fields[0], fields[1].replace("_", " ")))
    return rows


def _read_files(path: Path) -> set[str]:
    return {file for file, _ in _read_rows(path)}


CORPUS = PublishedCorpus(
    name="tut2017",
    facts=Facts(
        what="TUT Acoustic Scenes 2017: ten seconds of fifteen places",
        licence="non-commercial, by its publisher's terms",
        url="https://zenodo.org/records/400515",
        tasks=("asc",),
        subsets={"scenes-test": Subset(15 * 108 * 10 / 3600, 15 * 108)},
    ),
    read=read,
    by_hand="download both sets from https://zenodo.org/records/400515 and https://zenodo.org/records/1040168",
)
