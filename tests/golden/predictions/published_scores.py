"""Golden scores of files of predictions: published evaluation code, run on files that this script writes.

    git clone https://github.com/QwenLM/Qwen-Audio; git clone https://github.com/QwenLM/Qwen2-Audio
    git clone https://github.com/Sakshi113/MMAU; git clone https://github.com/ddlBoJack/MMAR
    git clone https://github.com/OFA-Sys/AIR-Bench; git clone https://github.com/EvolvingLMMs-Lab/lmms-eval
    git clone https://github.com/MoonshotAI/Kimi-Audio-Evalkit; git clone https://github.com/OpenBMB/UltraEval-Audio
    git clone https://github.com/NVIDIA/NeMo
    python tests/golden/predictions/published_scores.py FOLDER_OF_THE_CLONES

Writes a file of each format to ``tests/golden/predictions``, and ``scores.json`` with what the code computes on it, the
commit of each clone and the versions of packages. Needs ``sacrebleu<2 editdistance edit_distance zhconv jiwer<4
scikit-learn pandas loguru tqdm pycocoevalcap`` and Java, which pycocoevalcap's tokenizer runs.
"""

import argparse
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.golden.predictions.published_code import (
    functions_of,
    module_at,
    package,
    score_loop,
    stub,
)
from tests.golden.predictions.questions import captions, notes, questions, stamped
from tests.golden.predictions.toolkits import kimi, lmms_eval, nemo, ultraeval
from tests.golden.predictions.writing import COUNT, HERE, captured, printed_by, write_json, write_lines
from tests.golden.transcripts import transcripts

PACKAGES = ("editdistance", "edit_distance", "sacrebleu", "zhconv", "scikit-learn", "pycocoevalcap", "jiwer")


def mmau(clones: Path) -> dict:
    rows = []
    for row in questions(COUNT):
        record = {key: row[key] for key in ("id", "question", "choices", "answer")}
        record |= {
            "audio_id": f"./audio/{row['id']}.wav",
            "dataset": "own",
            "task": "speech",
            "split": "test-mini",
        }
        record |= {"category": "Reasoning", "sub-category": "Own", "difficulty": "easy"}
        rows.append(record | ({} if row["prediction"] is None else {"model_output": row["prediction"]}))
    path = write_json("mmau.json", rows)
    printed = printed_by(clones / "MMAU" / "evaluation.py", "--input", str(path))
    percent, total = re.search(r"Total Accuracy: ([\d.]+)% over (\d+)", printed).groups()
    match = functions_of(clones / "MMAU" / "evaluation.py", "string_match", re=re)["string_match"]
    scored = [row for row in rows if "model_output" in row]
    hits = [match(row["answer"], row["model_output"], row["choices"]) for row in scored]
    return {"percent": float(percent), "rows": int(total), "hits": sum(hits)}


def mmar(clones: Path) -> dict:
    rows = []
    for row in questions(COUNT + 1):
        record = {key: row[key] for key in ("id", "question", "choices", "answer")}
        record |= {"audio_path": f"./audio/{row['id']}.wav", "modality": "speech", "category": "Signal Layer"}
        record |= {"sub-category": "Own", "language": "en", "source": "own"}
        rows.append(record | ({} if row["prediction"] is None else {"answer_prediction": row["prediction"]}))
    path = write_lines("mmar.jsonl", rows)
    printed = printed_by(clones / "MMAR" / "code" / "evaluation.py", "--input", str(path))
    percent, total = re.search(r"Total Accuracy: ([\d.]+)% over (\d+)", printed).groups()
    return {"percent": float(percent), "rows": int(total)}


def airbench(clones: Path) -> dict:
    rows = []
    for number, row in enumerate(questions(COUNT)):
        record = {"path": f"{row['id']}.wav", "question": row["question"], "answer_gt": row["answer"]}
        record |= {f"choice_{letter}": text for letter, text in zip("abcd", row["choices"], strict=False)}
        record |= {
            "task_name": ("Speaker_Age", "Sound_AQA")[number % 2],
            "dataset_name": "own",
            "uniq_id": number,
        }
        rows.append(record | {"response": row["prediction"] or "None"})
    path = write_lines("airbench.jsonl", rows)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, Path(folder) / "Foundation_result_modelx.jsonl")
        printed = printed_by(clones / "AIR-Bench" / "score_foundation.py", folder=Path(folder))
    found = re.findall(r"(\w+): Sum=(\d+), correct=(\d+), acc=([\d.]+)", printed)
    return {task: {"rows": int(total), "accuracy": float(acc)} for task, total, _, acc in found}


def qwen_row(truth: Any, answer: str, source: str) -> dict:
    return {"gt": truth, "response": answer, "source": source, "audio_path": "own.wav"}


def by_source(rows: Sequence[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["source"], []).append(row)
    return found


def qwen_speech(clones: Path) -> dict:
    """Both scripts on one file; one language for all sources of a run, as in the scripts."""
    rows = [
        qwen_row(*pair, source)
        for source, language in (
            ("librispeech_test_clean", "en"),
            ("aishell2_ios_test", "zh"),
            ("cv15_fr", "fr"),
        )
        for pair in transcripts(language)[:80]
    ]
    write_json("qwen_asr.json", rows)
    scores: dict[str, dict] = {}
    for metric, clone in (("wer_qwen_audio", "Qwen-Audio"), ("wer_qwen2_audio", "Qwen2-Audio")):
        script = qwen_asr_script(clones / clone / "eval_audio")
        for source, language in zip(by_source(rows), ("en", "zh", "fr"), strict=True):
            own = by_source(rows)[source]
            pairs = [[script.remove_sp(row[key], language) for row in own] for key in ("gt", "response")]
            with contextlib.redirect_stdout(io.StringIO()):
                scores.setdefault(source, {})[metric] = script.compute_wer(*pairs, language)
    return scores


def qwen_asr_script(folder: Path) -> Any:
    """``evaluate_asr`` of a clone; its modules have the names of installed ones."""
    for name in [
        name
        for name in sys.modules
        if name.split(".")[0] in ("whisper_normalizer", "cn_tn", "evaluate_tokenizer")
    ]:
        del sys.modules[name]
    package("whisper_normalizer", folder / "whisper_normalizer")
    sys.path.insert(0, str(folder))
    try:
        return module_at(folder / "evaluate_asr.py", "evaluate_asr")
    finally:
        sys.path.remove(str(folder))


def qwen_others(clones: Path) -> dict:
    """Translations, labels, questions, time stamps and notes, by the loops that print their scores."""
    import edit_distance
    import numpy
    import sacrebleu
    from sklearn.metrics import accuracy_score, average_precision_score
    from sklearn.preprocessing import MultiLabelBinarizer

    folder = clones / "Qwen-Audio" / "eval_audio"
    scores = {}
    pairs = [(a.strip("<|>"), b) for a, b in transcripts("fr")[:60]]
    rows = [qwen_row(*pair, "covost2_en_fr_test") for pair in pairs]
    rows += [qwen_row(*pair, "covost2_en_zh_test") for pair in transcripts("zh")[:60]]
    write_json("qwen_st.json", rows)
    printed = captured(
        lambda: score_loop(
            folder / "evaluate_st.py", {"results_dict": by_source(rows), "sacrebleu": sacrebleu}
        )
    )
    for source, _, bleu in re.findall(r"source: (\S+)\s+cnt: (\d+) bleu score: ([\d.]+)", printed):
        scores[source] = {"bleu": float(bleu)}

    rows = [qwen_row(row["answer"], row["prediction"] or "", "clothoaqa_test") for row in questions(COUNT)]
    rows = [row | {"gt": row["gt"].lower()} for row in rows]
    write_json("qwen_aqa.json", rows)
    scope = {"results_dict": by_source(rows), "accuracy_score": accuracy_score}
    printed = captured(lambda: score_loop(folder / "evaluate_aqa.py", scope))
    acc, binary = re.findall(r"ACC_score: ([\d.]+)", printed)
    scores["clothoaqa_test"] = {"acc": float(acc), "acc_binary": float(binary)}

    rows = [qwen_row(*pair, "aishell2_srwt") for pair in stamped(COUNT)]
    write_json("qwen_srwt.json", rows)
    scope = functions_of(
        folder / "evaluate_srwt.py", "AverageShiftCalculator", re=re, edit_distance=edit_distance
    )
    shifts: list[float] = []
    refs, hyps = ([row[key] for row in rows] for key in ("gt", "response"))
    captured(lambda: shifts.append(scope["AverageShiftCalculator"]()(refs, hyps)))
    scores["aishell2_srwt"] = {"aas": 1000 * shifts[0]}

    rows = [qwen_row(*pair, "nsynth") for pair in notes(COUNT)]
    write_json("qwen_notes.json", rows)
    scope = functions_of(folder / "evaluate_note_analysis.py", "get_note_info", re=re) | {
        "results_dict": by_source(rows),
        "accuracy_score": accuracy_score,
        "average_precision_score": average_precision_score,
        "MultiLabelBinarizer": MultiLabelBinarizer,
        "np": numpy,
        "Top1Accuracy": NotScored,
        "ChromaAccuracy": NotScored,
    }
    printed = captured(lambda: score_loop(folder / "evaluate_note_analysis.py", scope))
    keys = {
        "instrument_score": "instrument_acc",
        "velocity_score": "velocity_acc",
        "sonic_score": "quality_map",
    }
    scores["nsynth"] = {
        keys[name]: float(value) for name, value in re.findall(r"nsynth (\w+): ([\d.]+)", printed)
    }
    return scores


class NotScored:
    """Pitch metrics of HEAR, which need packages that do not build today."""

    def __init__(self, _: Any) -> None:
        """Ignore the vocabulary."""

    def _compute(self, *_: Any) -> float:
        return 0.0


def qwen_captions(_: Path) -> dict:
    """CIDEr and ROUGE-L of pycocoevalcap, with its Java tokenizer."""
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    rows = captions(COUNT)
    write_json("qwen_caption.json", [qwen_row(row["references"], row["answer"], "clotho") for row in rows])
    tokenizer = PTBTokenizer()
    truth = tokenizer.tokenize({row["id"]: [{"caption": text} for text in row["references"]] for row in rows})
    answers = tokenizer.tokenize({row["id"]: [{"caption": row["answer"]}] for row in rows})
    return {
        "cider_d": float(Cider().compute_score(truth, answers)[0]),
        "rouge_l": float(Rouge().compute_score(truth, answers)[0]),
    }


def head(clone: Path) -> str:
    """Commit of a clone."""
    command = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    kept = clone / "HEAD_COMMIT"
    return kept.read_text().strip() if kept.is_file() else subprocess.check_output(command, text=True).strip()


def main() -> None:
    """Run all scripts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("clones", type=Path)
    clones = parser.parse_args().clones.resolve()
    stub(
        "torch",
        "torch.utils",
        "torch.utils.data",
        "transformers",
        "transformers.pipelines",
        "zhon",
        "zhon.hanzi",
        "torch.utils.data.sampler",
    )
    stub("transformers.pipelines.audio_utils", "requests")
    parts = (mmau, mmar, airbench, qwen_speech, qwen_others, qwen_captions, lmms_eval, kimi, ultraeval, nemo)
    scores = {part.__name__: part(clones) for part in parts}
    golden = {
        "commits": {path.name: head(path) for path in sorted(clones.iterdir()) if path.is_dir()},
        "versions": {name: version(name) for name in PACKAGES},
        "scores": scores,
    }
    (HERE / "scores.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
