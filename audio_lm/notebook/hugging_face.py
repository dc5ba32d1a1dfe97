"""Comparisons with transformers: logits of an exported folder in both programs, and the weights that a training has changed.

Shapes: T tokens of a conversation, V vocabulary.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.model.encoders.token_count import audio_token_count
from audio_lm.model.weights.files import read_weights
from audio_lm.notebook.clip_view import ClipView
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import render_chat
from audio_lm.run.ask import AnsweringModel, open_model
from audio_lm.tasks.registry import CHAT
from audio_lm.tracking.report.audio_report import FloatArray
from audio_lm.tracking.report.curve_figures import bars_figure
from audio_lm.tracking.report.display import Picture

LAYER = re.compile(r"^(.*?\.layers\.\d+)\.")
LAYER_NUMBER = re.compile(r"\d+")
PARTS = {
    "audio_tower": "encoder",
    "multi_modal_projector": "projector",
    "language_model.model": "language model",
    "language_model.lm_head": "output layer",
}
"""Names of a Qwen2-Audio's weights in its files -> parts."""
LAYERED = ("audio_tower", "language_model.model")


@dataclass(frozen=True)
class LogitComparison:
    """Next-token logits (T, V) of one conversation in both programs."""

    ours: FloatArray
    theirs: FloatArray
    tokens: list[str]
    """Text of each row of the vocabulary."""

    @property
    def largest_difference(self) -> float:
        """Largest difference of two logits, over all positions and tokens."""
        return float(np.abs(self.ours - self.theirs).max())

    def picture(self, num: int = 8) -> Picture:
        """Probabilities of the most probable first tokens of the answer, in both programs."""
        ours, theirs = (np.exp(each[-1] - np.logaddexp.reduce(each[-1])) for each in (self.ours, self.theirs))
        rows = {
            f"{index}  {self.tokens[index]!r}": {
                "audio_lm": 100 * float(ours[index]),
                "transformers": 100 * float(theirs[index]),
            }
            for index in np.argsort(-ours)[:num].tolist()
        }
        title = f"first token of the answer; largest difference of any logit: {self.largest_difference:.1e}"
        return Picture.of(bars_figure(rows, unit="probability, percent", title=title))


def compare_with_transformers(
    folder: str | Path, clip: ClipView, question: str = "What do you hear?"
) -> LogitComparison:
    """Compute the logits of a question about a clip, with audio_lm and with transformers.

    Args:
        folder: a Qwen2-Audio.

    Raises:
        UserError: the folder holds none.
    """
    model = open_model(folder)
    vocabulary = model.loaded.vocabulary
    example = _question(model, clip, question)
    theirs = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    theirs.eval()
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    features = processor.feature_extractor(
        clip.wave,
        sampling_rate=SAMPLES_PER_SECOND,
        return_attention_mask=True,
        padding="max_length",
        return_tensors="pt",
    )
    ids = torch.tensor([example.token_ids[:-1]])
    with torch.inference_mode():
        ours_TV = model.loaded.model.float()(pack_examples([example], [clip.wave]))
        theirs_TV = theirs(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            input_features=features["input_features"],
            feature_attention_mask=features["attention_mask"],
        ).logits[0]
    num_rows = min(ours_TV.shape[1], theirs_TV.shape[1])
    tokens = [vocabulary.text([index]) for index in range(num_rows)]
    return LogitComparison(ours_TV[:, :num_rows].numpy(), theirs_TV[:, :num_rows].numpy(), tokens)


def _question(model: AnsweringModel, clip: ClipView, question: str) -> Example:
    """Question as a conversation in which every position counts, so that the model returns all logits."""
    content = [{"audio": 1}, {"text": question}]
    num_tokens = audio_token_count(model.loaded.config).tokens_in(len(clip.wave))
    encoded = encode(
        render_chat([{"role": "user", "content": content}], with_answer=False),
        model.loaded.vocabulary,
        num_tokens_of_clip=[num_tokens],
    )
    # The last token is only a label: the logits at its place are not computed.
    ids = [*encoded.token_ids, model.loaded.vocabulary.end_id]
    is_learned = [False] + [True] * (len(ids) - 1)
    return Example(clip.cut_id, CHAT, 0, ids, is_learned, encoded.audio_index, (len(clip.wave),))


def weight_changes(before: str | Path, after: str | Path) -> dict[str, float]:
    """Part and layer -> norm of the change of its weights, in percent of their norm; parts in the order of the model.

    Args:
        before: a Qwen2-Audio folder.
        after: another one with the same weights; new rows of its tables are left out.

    Raises:
        CheckpointError: a folder has no weights.
    """
    old, new = read_weights(Path(before)), read_weights(Path(after))
    changes, sizes = defaultdict[str, float](float), defaultdict[str, float](float)
    for name in sorted(old.keys() & new.keys(), key=_order):
        rows = min(len(old[name]), len(new[name])) if old[name].ndim else None
        ours, theirs = old[name][:rows].double(), new[name][:rows].double()
        changes[_group(name)] += float((theirs - ours).square().sum())
        sizes[_group(name)] += float(ours.square().sum())
    return {group: 100 * (change / max(sizes[group], 1e-30)) ** 0.5 for group, change in changes.items()}


def weight_change_picture(before: str | Path, after: str | Path) -> Picture:
    """Bars of the changes of all parts and layers."""
    rows = {group: {"change": change} for group, change in weight_changes(before, after).items()}
    notes = {group: "unchanged" for group, kinds in rows.items() if not kinds["change"]}
    title = "change of the weights"
    return Picture.of(
        bars_figure(rows, unit="norm of the change, percent of the weights", title=title, notes=notes)
    )


def _group(name: str) -> str:
    """Part of a weight, with its layer."""
    part = next((prefix for prefix in PARTS if name.startswith(f"{prefix}.")), None)
    if part is None:
        return name
    layer = LAYER.match(name)
    if layer:
        return f"{PARTS[part]}, layer {LAYER_NUMBER.findall(layer[1])[-1]}"
    return f"{PARTS[part]}, other weights" if part in LAYERED else PARTS[part]


def _order(name: str) -> tuple[int, int, str]:
    """Parts in the order of the model, what has no layer first, then layers by their number."""
    part = next((number for number, prefix in enumerate(PARTS) if name.startswith(f"{prefix}.")), len(PARTS))
    layer = LAYER.match(name)
    return part, int(LAYER_NUMBER.findall(layer[1])[-1]) if layer else -1, name
