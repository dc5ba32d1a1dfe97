"""Dialogues of the small corpora with rejected answers, as a cut-set of their own."""

import json
import shutil
from pathlib import Path

CUT_SET = "pairs/dialogues-train"


def write_pairs(data_dir, folder, *, num_audio_pairs=2):
    """Copy the small corpora, and write pairs beside them: another answer, or the clip of another dialogue.

    Args:
        data_dir: of the small recipe.
        folder: new data folder.
        num_audio_pairs: pairs at the end with the same answer to another clip.
    """
    shutil.copytree(Path(data_dir) / "synthetic", folder / "synthetic")
    lines = (folder / "synthetic" / "dialogues-train.jsonl").read_text().splitlines()
    cuts = [json.loads(line) for line in lines]
    answers = [answer_of(cut) for cut in cuts]
    for number, cut in enumerate(cuts):
        custom = cut["supervisions"][0]["custom"]
        others = [(other, text) for other, text in enumerate(answers) if text != answers[number]]
        other, text = others[number % len(others)]
        if number < len(cuts) - num_audio_pairs or len(clips_of(cut)) != 1:
            custom["rejected"] = text
        else:
            custom["rejected"] = custom["conversation"]
            cut["custom"] = (cut.get("custom") or {}) | {"rejected_audio_1": cuts[other]["recording"]}
    path = folder / f"{CUT_SET}.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(cut) + "\n" for cut in cuts))


def answer_of(cut):
    """Last answer of a dialogue."""
    return cut["supervisions"][0]["custom"]["conversation"][-1]["content"][0]["text"]


def clips_of(cut):
    """Numbers of the clips of a dialogue."""
    turns = cut["supervisions"][0]["custom"]["conversation"]
    return [part["audio"] for turn in turns for part in turn["content"] if "audio" in part]
