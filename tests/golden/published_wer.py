"""Golden word error rates: the published scripts of Qwen-Audio and Qwen2-Audio, run on the rows of ``transcripts``.

    git clone https://github.com/QwenLM/Qwen2-Audio
    python tests/golden/published_wer.py wer_qwen2_audio Qwen2-Audio
    git clone https://github.com/QwenLM/Qwen-Audio
    python tests/golden/published_wer.py wer_qwen_audio Qwen-Audio

Writes ``tests/golden/<metric>.json``: for each language the error rate of all rows, and for each row its error rate and
a digest of the words that the script compared, which it prints. The scripts need ``editdistance zhconv sacrebleu<2``,
and what they import at the top (torch, transformers). Versions are written to the file.
"""

import argparse
import ast
import contextlib
import hashlib
import io
import json
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden.transcripts import AMOUNTS, transcripts

HERE = Path(__file__).parent
PACKAGES = ("editdistance", "sacrebleu", "zhconv")


def published_script(clone: Path) -> Any:
    """The script as a module; its folders come before installed packages of the same name."""
    folder = clone / "eval_audio"
    sys.path.insert(0, str(folder))
    normalizers = types.ModuleType("whisper_normalizer")
    normalizers.__path__ = [str(folder / "whisper_normalizer")]
    sys.modules["whisper_normalizer"] = normalizers
    import evaluate_asr

    return evaluate_asr


def words_digest(reference: list[str], answer: list[str]) -> str:
    """Digest of the words that are compared."""
    text = " ".join(reference) + "\n" + " ".join(answer)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def error_rate(script: Any, rows: list[tuple[str, str]], language: str) -> tuple[float, str]:
    """Error rate of rows, as the end of the script computes it, and the digest of the first row."""
    references, answers = ([script.remove_sp(row[side], language) for row in rows] for side in (0, 1))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        rate = script.compute_wer(references, answers, language)
    lines = printed.getvalue().splitlines()
    words = [ast.literal_eval(lines[lines.index(name) + 1]) for name in ("ref_items:", "pred_items:")]
    return rate, words_digest(*words)


def main() -> None:
    """Run one script and write its golden file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("metric", choices=["wer_qwen_audio", "wer_qwen2_audio"])
    parser.add_argument("clone", type=Path)
    arguments = parser.parse_args()
    script = published_script(arguments.clone)
    head = subprocess.check_output(["git", "-C", arguments.clone, "rev-parse", "HEAD"], text=True)
    golden = {"commit": head.strip(), "versions": {name: version(name) for name in PACKAGES}, "languages": {}}
    for language in AMOUNTS:
        rows = transcripts(language)
        golden["languages"][language] = {
            "wer": error_rate(script, rows, language)[0],
            "rows": [error_rate(script, [row], language) for row in rows],
        }
    lines = (
        json.dumps(golden, indent=1)
        .replace("[\n     ", "[")
        .replace(",\n     ", ", ")
        .replace("\n    ]", "]")
    )
    (HERE / f"{arguments.metric}.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
