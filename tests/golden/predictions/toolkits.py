"""Golden scores of the files that evaluation toolkits write: lmms-eval, Kimi-Audio-Evalkit, UltraEval-Audio, NeMo."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.golden.predictions.published_code import (
    functions_of,
    module_at,
    package,
    seeded,
    stub,
)
from tests.golden.predictions.questions import questions
from tests.golden.predictions.writing import COUNT, captured, write_lines
from tests.golden.transcripts import transcripts


def lmms_choices(
    clones: Path, task: str, process: str, doc_of: Callable[[dict], dict], aggregate: str
) -> dict:
    """Samples of a task and its aggregate; the metrics of each sample are those of its code, in order."""
    utils = module_at(clones / "lmms-eval" / "lmms_eval" / "tasks" / task / "utils.py", f"lmms_{task}")
    seeded()
    samples = []
    for number, row in enumerate(questions(COUNT, 4)):
        doc, prediction = doc_of(row), row["prediction"] or ""
        results = getattr(utils, process)(dict(doc), [prediction])
        lines = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", row["choices"], strict=False))
        sample = {"doc_id": number, "target": doc["target"], "filtered_resps": prediction, "doc_hash": "0"}
        sample |= {"input": f"{row['question']}\n{lines}\nAnswer with the option's letter."}
        samples.append(sample | {key: value for key, value in results.items() if key != "submission"})
    write_lines(f"lmms_eval_{task}.jsonl", samples)
    key = "mmar_accuracy" if task == "mmar" else "accuracy"
    return {"score": getattr(utils, aggregate)([sample[key] for sample in samples]), "rows": len(samples)}


def lmms_eval(clones: Path) -> dict:
    stub(
        "lmms_eval",
        "lmms_eval.tasks",
        "lmms_eval.tasks._task_utils",
        "lmms_eval.tasks._task_utils.file_utils",
    )
    stub("lmms_eval.tasks._task_utils.default_template_yaml", "requests")
    sys.modules["lmms_eval.tasks._task_utils.default_template_yaml"].load_default_template_yaml = (
        lambda path: {}
    )

    def mmau_doc(row: dict) -> dict:
        doc = {"id": row["id"], "question": row["question"], "choices": json.dumps(row["choices"])}
        return doc | {"answer": row["answer"], "task": "speech", "target": row["answer"]}

    def mmar_doc(row: dict) -> dict:
        lettered = [f"{letter}. {text}" for letter, text in zip("ABCD", row["choices"], strict=False)]
        return {"id": row["id"], "choices": lettered, "answer": row["letter"], "target": row["letter"]}

    def air_doc(row: dict) -> dict:
        doc = {f"choice_{letter}": text for letter, text in zip("abcd", row["choices"], strict=False)}
        return doc | {"answer_gt": row["answer"], "task_name": "own", "target": row["letter"]}

    return {
        "mmau": lmms_choices(clones, "mmau", "mmau_process_results", mmau_doc, "mmau_aggregate_results"),
        "mmar": lmms_choices(clones, "mmar", "mmar_process_results", mmar_doc, "mmar_aggregate_results"),
        "air_bench": lmms_choices(
            clones,
            "air_bench",
            "air_bench_process_results_foundation",
            air_doc,
            "air_bench_aggregate_results_foundation",
        ),
        "asr": lmms_speech(clones),
    }


def lmms_speech(clones: Path) -> dict:
    folder = clones / "lmms-eval" / "lmms_eval" / "tasks"
    package("lmms_eval", folder.parent)
    package("lmms_eval.tasks", folder)
    package("lmms_eval.tasks.librispeech", folder / "librispeech")
    utils = module_at(folder / "librispeech" / "utils.py", "lmms_eval.tasks.librispeech.utils")
    results = [
        utils.librispeech_process_result({"gt": truth, "source": "test-clean", "task": "asr_en"}, [answer])
        for truth, answer in transcripts("en")[:80]
    ]
    samples = [
        {"doc_id": n, "target": one["wer"]["gt"], "filtered_resps": one["wer"]["pred"], "input": "Recognize"}
        | one
        for n, one in enumerate(results)
    ]
    write_lines("lmms_eval_asr.jsonl", samples)
    wers: list[float] = []
    captured(lambda: wers.append(utils.librispeech_wer([one["wer"] for one in results], None)))
    return {"percent": wers[0]}


def kimi(clones: Path) -> dict:
    """``evaluate_qwen2`` of its speech recognition data sets, in each language."""
    folder = clones / "Kimi-Audio-Evalkit" / "almeval"
    package("almeval", folder)
    package("almeval.metrics", folder / "metrics")
    package("almeval.datasets", folder / "datasets")
    stub("jsonlines", "torch", "torch.utils", "torch.utils.data", "almeval.judge_models", "almeval.utils")
    stub("almeval.utils.config_manager")
    sets = module_at(folder / "datasets" / "ds_asr.py", "almeval.datasets.ds_asr")
    scores = {}
    for name, language in (("LibriSpeech", "en"), ("Fleurs_zh", "zh")):
        rows = [
            {
                "index": number,
                "audio_path": "own.wav",
                "question": "Please transcribe the audio content into text.",
            }
            | {"answer": truth, "subset": f"own-{language}", "prediction": answer if number % 15 else "null"}
            for number, (truth, answer) in enumerate(transcripts(language)[:80])
        ]
        path = write_lines(f"kimi_asr_{language}.jsonl", rows)
        data = object.__new__(getattr(sets, name))
        found: list[dict] = []
        captured(lambda data=data, path=path, found=found: found.append(data.evaluate_qwen2(str(path))))
        scores[f"own-{language}"] = found[0][f"own-{language}"]
    rows = [
        {"index": number, "audio_path": "own.wav", "answer": row["letter"], "subset": "own"}
        | {
            "question": f"{row['question']}\n"
            + "\n".join(f"({x}) {y}" for x, y in zip("ABCD", row["choices"], strict=False))
        }
        | {"prediction": row["prediction"] if row["prediction"] is not None else "null"}
        for number, row in enumerate(questions(40))
    ]
    write_lines("kimi_mqa.jsonl", rows)
    return scores


def ultraeval(clones: Path) -> dict:
    folder = clones / "UltraEval-Audio" / "audio_evals"
    package("audio_evals", folder)
    for part in ("lib", "lib.text_normalization", "evaluator", "agg"):
        package(f"audio_evals.{part}", folder / part.replace(".", "/"))
    stub("audio_evals.lib.coco", "zhon", "zhon.hanzi")
    sys.modules["zhon.hanzi"].punctuation = ""
    agg = module_at(folder / "agg" / "base.py", "audio_evals.agg.base")
    wer = module_at(folder / "evaluator" / "wer.py", "audio_evals.evaluator.wer")
    match = module_at(folder / "evaluator" / "string_match.py", "audio_evals.evaluator.string_match")
    scores = {}
    for language, evaluator, lang in (("en", wer.WER(ignore_case=True), "13a"), ("zh", wer.CER(), "zh")):
        pairs = [(answer, truth) for truth, answer in transcripts(language)[:60]]
        results = logged(
            f"ultraeval_asr_{language}.jsonl", [(a, t, "Write down.", {}) for a, t in pairs], evaluator
        )
        scores[language] = agg.PracticeWER(lang=lang)(results)["wer(%)"]
    rows = [
        (row["prediction"], row["answer"], choice_prompt(row), {"choices": row["choices"]})
        for row in questions(COUNT)
    ]
    results = logged("ultraeval_mmau.jsonl", rows, match.ChoiceStringMatch())
    scores["mmau"] = {
        "percent": agg.NaiveMean(need_score_col=["match"])(results)["match(%)"],
        "rows": len(results),
    }
    return scores


def choice_prompt(row: dict) -> str:
    listed = "".join(f"{letter}. {text}\n" for letter, text in zip("ABCD", row["choices"], strict=False))
    return f"{row['question']}  Select one option from the provided choices without explain. {listed}"


def logged(name: str, rows: Sequence[tuple], evaluator: Any) -> list[dict]:
    """Results of an evaluator, and the record file that its task writes; without a prediction there is an error."""
    lines, results = [], []
    for number, (answer, truth, prompt, more) in enumerate(rows):
        contents = [{"type": "audio", "value": "own.wav"}, {"type": "text", "value": prompt}]
        lines.append(
            {"type": "prompt", "id": number, "data": {"content": [{"role": "user", "contents": contents}]}}
        )
        if answer is None:
            lines.append({"type": "error", "id": number, "data": {"info": "timeout"}})
            continue
        results.append(evaluator(answer, truth, **more))
        lines += [
            {"type": kind, "id": number, "data": {"content": answer}}
            for kind in ("inference", "post_process")
        ]
        lines.append({"type": "eval", "id": number, "data": results[-1]})
    write_lines(name, lines)
    return results


def nemo(clones: Path) -> dict:
    import editdistance

    rows = [
        {
            "audio_filepath": f"own-{number}.wav",
            "duration": 1.0,
            "text": truth,
            "pred_text": answer,
            "lang": "en",
        }
        for number, (truth, answer) in enumerate(transcripts("en")[:80])
    ]
    write_lines("nemo.jsonl", rows)
    path = next(path for path in (clones / "NeMo").rglob("wer.py") if "word_error_rate(" in path.read_text())
    rate = functions_of(path, "word_error_rate", editdistance=editdistance)["word_error_rate"]
    return {"wer": rate([row["pred_text"] for row in rows], [row["text"] for row in rows])}
