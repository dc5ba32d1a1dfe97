"""Compare transformers on an exported folder with our reference: ``check_folder.py DIR``.

Needs torch and transformers, not this program. Compares the tokens of every prompt, the logits at every
position of the answer, and the generated text with DIR/reference.json; exits with 1 if one differs.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

TOLERANCE = 1e-5  # relative to the largest logit


def main(folder: Path) -> int:
    processor = AutoProcessor.from_pretrained(folder / "model")
    model, report = Qwen2AudioForConditionalGeneration.from_pretrained(
        folder / "model", output_loading_info=True, dtype=torch.float32
    )
    model.eval()
    unfit = {name: list(value) for name, value in report.items() if value}
    records = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    prompts = answers = 0
    worst = 0.0
    for record in records:
        text = processor.apply_chat_template(record["messages"], add_generation_prompt=True, tokenize=False)
        clips = [read_wav(folder / name) for name in record["clips"]]
        inputs = processor(text=text, audio=clips, sampling_rate=16_000, return_tensors="pt")
        ids = inputs["input_ids"][0].tolist()
        prompts += ids == record["prompt_ids"]
        worst = max(worst, difference(model, inputs, record, np.load(folder / record["logits"])))
        with torch.no_grad():
            whole = model.generate(**inputs, max_new_tokens=24)[0, len(ids) :]
        answer = processor.decode(whole, skip_special_tokens=True)
        answers += answer == record["answer"]
    figures = {
        "transformers": transformers.__version__,
        "conversations": len(records),
        "equal_prompts": prompts,
        "equal_answers": answers,
        "logits_max_difference": worst,
        "unfit_weights": unfit,
    }
    print(json.dumps(figures))
    return int(not (prompts == answers == len(records) and worst <= TOLERANCE and not unfit))


def difference(model, inputs, record, expected) -> float:
    """Maximum difference of logits, relative to the largest logit."""
    ids = torch.tensor([[*record["prompt_ids"], *record["answer_ids"]]])
    others = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **others).logits[0].numpy()
    actual = logits[-len(expected) :]
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def read_wav(path: Path) -> np.ndarray:
    """Read a mono WAV file of 16 bits as floats."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32_768


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
