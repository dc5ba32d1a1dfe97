"""Exported folder with a tiny model of random weights whose answers depend on the clip."""

import io
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from audio_lm.common.chat_parts import text_part
from audio_lm.export.hugging_face import export_model
from audio_lm.model.build import build_model
from audio_lm.prompts.tokenizer import train_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from tests.conftest import TINY

WORDS = "zero one two three four five six seven eight nine ten bell horn drum tick beep"
NUM_TOKENS = 10
QUESTION = text_part("What do you hear?")
SPREAD = 6.0  # of the embeddings: with the usual 0.02 every clip gets the same answer


def write_model(folder: Path, prompt: str = "chatml") -> Path:
    tokenizer = train_tokenizer([f" {WORDS}", "What do you hear?"] * 4, vocab_size=400)
    vocabulary = Vocabulary(tokenizer, num_base=len(tokenizer))
    torch.manual_seed(0)
    model = build_model(TINY, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim == 2 and ("projector" in name or "language_model" in name):
                weights.mul_(SPREAD)
        rows = model.language_model.get_output_embeddings().weight
        rows[[index for index in range(len(rows)) if not is_readable(vocabulary, index)]] = 0.0
    export_model(model, vocabulary, folder, prompt=prompt)
    return folder


def is_readable(vocabulary: Vocabulary, index: int) -> bool:
    """True for a token of a lower-case word, so that answers are words of ASCII."""
    text = vocabulary.text([index])
    return index < vocabulary.num_base and text.isascii() and text.strip().isalpha()


class GreedyModel:
    """Reference: transformers on the folder, without a server."""

    def __init__(self, folder):
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = Qwen2AudioForConditionalGeneration.from_pretrained(folder).eval()

    def answer(self, *waves, max_new_tokens=NUM_TOKENS):
        content = [*({"type": "audio"} for _ in waves), {"type": "text", "text": QUESTION["text"]}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = self.processor(text=text, audio=list(waves), sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            ids = self.model.generate(**inputs, max_new_tokens=max_new_tokens)[0]
        return self.processor.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def clip(number: int, seconds: float = 0.6, rate: int = 16_000) -> np.ndarray:
    """Chord that differs for every number."""
    rng = np.random.default_rng(number)
    time = np.arange(int(seconds * rate)) / rate
    tones = rng.uniform(100, 4_000, 5)
    return (0.15 * np.sin(2 * np.pi * np.outer(tones, time)).sum(axis=0)).astype(np.float32)


def encoded(number: int, kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, clip(number), 16_000, format=kind)
    return file.getvalue()


def decoded(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]
