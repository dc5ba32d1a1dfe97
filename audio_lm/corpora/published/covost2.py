"""CoVoST 2: translations of Common Voice 4 from and into English.

Layout: the Common Voice release unpacked as ``<language>/clips/<path>``, next to the tables written by CoVoST's
script, ``covost_v2.<from>_<to>.<train|dev|test>.tsv``. The script escapes tabs, quotation marks and backslashes
with a backslash, which is removed here.

Source: Wang et al., arXiv:2007.10310; https://github.com/facebookresearch/covost.
"""

import re
from pathlib import Path

from audio_lm.common.errors import DataError
from audio_lm.corpora.published.base import (
    CutSetWriter,
    Facts,
    PublishedCorpus,
    find_folders,
    read_table_rows,
)
from audio_lm.corpora.published.commonvoice import LANGUAGE_OF_FOLDER, SPLITS

TABLE = re.compile(r"covost_v2\.(?P<source>[\w-]+)_(?P<target>[\w-]+)\.(?P<split>train|dev|test)\.tsv")


def read(source: Path, writer: CutSetWriter) -> None:
    """Read all tables of languages with a tag."""
    root = find_folders(source, *(f"{folder}/clips" for folder in LANGUAGE_OF_FOLDER))[0]
    for path in sorted(root.glob("covost_v2.*.tsv")):
        match = TABLE.fullmatch(path.name)
        if not match or not {match["source"], match["target"]} <= LANGUAGE_OF_FOLDER.keys():
            continue
        language, target = LANGUAGE_OF_FOLDER[match["source"]], LANGUAGE_OF_FOLDER[match["target"]]
        for number, row in enumerate(read_table_rows(path, separator="\t", escape="\\"), start=2):
            if not (row.get("path") and row.get("sentence") and row.get("translation")):
                raise DataError(
                    f"{path}:{number}: expected a path, a sentence and a translation; repair the line"
                )
            audio = root / match["source"] / "clips" / row["path"]
            labels = {
                "language": language,
                "text": row["sentence"],
                "target_language": target,
                "translation": row["translation"],
            }
            writer.add(
                f"{language}_{target}-{SPLITS[match['split']]}",
                f"{audio.stem}-{language}-{target}",
                audio,
                labels,
            )


CORPUS = PublishedCorpus(
    name="covost2",
    facts=Facts(
        what="CoVoST 2: speech of Common Voice with translations from and into English, 2 880 h in all its languages",
        licence="CC0 1.0",
        url="https://github.com/facebookresearch/covost",
        tasks=("s2tt", "asr"),
    ),
    read=read,
    by_hand="unpack Common Voice 4; put what get_covost_splits.py of https://github.com/facebookresearch/covost writes beside",
    version=2,
)
