"""Parity of the whole model with Hugging Face's ``Qwen2AudioForConditionalGeneration``."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

from audio_lm.common.audio_units import frames_in, tokens_in
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LanguageModelConfig, ModelConfig
from audio_lm.model.decoder.generate import greedy_decode
from tests.devices import DEVICES

NUM_BASE, NUM_NEW, AUDIO = 60, 4, 61
ENDS = [3, 62]
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 1024,
}
EXTRACTOR = WhisperFeatureExtractor(feature_size=80)


def same_models():
    """Our model and Hugging Face's with the same weights; rows of new tokens are at the end of its tables."""
    torch.manual_seed(0)
    config = ModelConfig(
        encoder=EncoderConfig(num_mels=80, width=32, num_layers=2, num_heads=2, mlp_width=48),
        language_model=LanguageModelConfig(settings=TEXT),
    )
    ours = build_model(config, num_base=NUM_BASE, num_new=NUM_NEW).eval()
    for parameter in ours.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        else:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    shape = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48}
    theirs = Qwen2AudioForConditionalGeneration(
        Qwen2AudioConfig(
            audio_config={"num_mel_bins": 80, **shape},
            text_config={"model_type": "qwen2", "vocab_size": NUM_BASE + NUM_NEW, **TEXT},
            audio_token_index=AUDIO,
        )
    ).eval()
    theirs.load_state_dict(values_by_hf_name(ours, lambda tensor: tensor.detach()), strict=True)
    return ours, theirs


def values_by_hf_name(ours, value):
    """Name in Hugging Face's model -> value of our weight; rows of new tokens are appended to the tables."""
    named = {f"model.audio_tower.{name}": value(weight) for name, weight in state_of(ours.encoder)}
    named |= {
        f"model.multi_modal_projector.{name}": value(weight) for name, weight in state_of(ours.projector)
    }
    for name, weight in state_of(ours.language_model):
        new = {"model.embed_tokens.weight": ours.new_tokens.input, "lm_head.weight": ours.new_tokens.output}
        both = value(weight) if name not in new else torch.cat([value(weight), value(new[name])])
        named[
            "lm_head.weight"
            if name == "lm_head.weight"
            else name.replace("model.", "model.language_model.", 1)
        ] = both
    return named


def state_of(part):
    return part.state_dict(keep_vars=True).items()


def random_examples(count, *, seed, num_learned=0):
    """Conversations of random tokens with 0 to 3 clips each, and the clips."""
    rng = np.random.default_rng(seed)
    vocabulary = [token for token in range(NUM_BASE + NUM_NEW) if token != AUDIO]
    examples, waves = [], []
    for number in range(count):
        ids, positions, lengths = [], [], []
        for _ in range(number % 4):
            ids += rng.choice(vocabulary, rng.integers(1, 5)).tolist()
            lengths.append(int(rng.integers(1_000, 20_000)))
            num_tokens = tokens_in(frames_in(lengths[-1]))
            positions += range(len(ids), len(ids) + num_tokens)
            ids += [AUDIO] * num_tokens
            waves.append((rng.normal(0, rng.choice([0.01, 0.3]), lengths[-1])).astype(np.float32))
        ids += rng.choice(vocabulary, rng.integers(2 + num_learned, 7 + num_learned)).tolist()
        is_learned = [False] * (len(ids) - num_learned) + [True] * num_learned
        examples.append(Example(str(number), "asr", 0, ids, is_learned, positions, tuple(lengths)))
    return examples, waves


def padded(examples, waves, *, side):
    """Padded inputs and labels for Hugging Face's model."""
    longest = max(map(len, examples))
    rows = torch.zeros(len(examples), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(rows), torch.full_like(rows, -100)
    for row, example in enumerate(examples):
        span = slice(longest - len(example), None) if side == "left" else slice(0, len(example))
        rows[row, span], mask[row, span] = torch.tensor(example.token_ids), 1
        learned = torch.tensor(example.is_learned)
        labels[row, span] = torch.where(learned, torch.tensor(example.token_ids), -100)
    features = EXTRACTOR(waves, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    inputs = {
        "input_ids": rows,
        "attention_mask": mask,
        "input_features": features["input_features"],
        "feature_attention_mask": features["attention_mask"],
    }
    return inputs, labels


def assert_same_answers(ours, theirs, device, count):
    """Compare the greedy answers to random prompts, token for token; returns how many lengths they have."""
    ours, theirs = ours.to(device), theirs.to(device)
    examples, waves = random_examples(count, seed=0)
    first, answer_lengths = 0, set()
    for start in range(0, count, 10):
        batch = examples[start : start + 10]
        clips = waves[first : (first := first + sum(len(example.num_samples) for example in batch))]
        answers = greedy_decode(ours, pack_examples(batch, clips), end_ids=set(ENDS), max_new_tokens=10)
        inputs, _ = padded(batch, clips, side="left")
        inputs = {name: value.to(device) for name, value in inputs.items()}
        with torch.no_grad():
            generated = theirs.generate(
                **inputs, max_new_tokens=10, do_sample=False, eos_token_id=ENDS, pad_token_id=0
            )
        for example, answer, row in zip(batch, answers, generated.tolist(), strict=True):
            expected = row[inputs["input_ids"].shape[1] :]
            ends = [index for index, token in enumerate(expected) if token in ENDS]
            assert answer == expected[: ends[0] if ends else None], (example.cut_id, len(example.num_samples))
            answer_lengths.add(len(answer))
    return len(answer_lengths)


@pytest.mark.slow
def test_fifty_random_prompts_have_the_same_answers():
    assert assert_same_answers(*same_models(), "cpu", 50) > 2, "no answer was ended by an end token"


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
def test_on_each_device_greedy_answers_are_those_of_hugging_face_token_for_token(device):
    assert assert_same_answers(*same_models(), device, 10) > 1


def test_other_clips_give_other_answers():
    ours, _ = same_models()
    examples, waves = random_examples(12, seed=1)
    before = greedy_decode(ours, pack_examples(examples, waves), end_ids=set(), max_new_tokens=10)
    others = [np.roll(wave[::-1] * 3, 77).copy() for wave in waves]
    after = greedy_decode(ours, pack_examples(examples, others), end_ids=set(), max_new_tokens=10)
    is_changed = [a != b for a, b in zip(before, after, strict=True)]
    without_clips = [
        changed for changed, example in zip(is_changed, examples, strict=True) if not example.num_samples
    ]
    assert without_clips == [False] * 3
    assert sum(is_changed) >= 5


def step_of(ours, examples, waves):
    pack = pack_examples(examples, waves)
    loss = F.cross_entropy(ours(pack), pack.labels)
    loss.backward()
    return loss.detach()


def assert_same_step(device, tolerance, *, half=False):
    """Compare loss and gradients of a step on a device, in 32 bits or with autocast to bf16."""
    ours, theirs = (model.to(device) for model in same_models())
    examples, waves = random_examples(6, seed=2, num_learned=4)
    pack = pack_examples(examples, waves).to(device)
    inputs, labels = padded(examples, waves, side="right")
    inputs = {name: value.to(device) for name, value in inputs.items()}
    with torch.autocast(device, torch.bfloat16, enabled=half):
        loss = ours.loss(pack, weight=1 / pack.num_learned).total
        output = theirs(**inputs, labels=labels.to(device))
    loss.backward()
    output.loss.backward()
    assert loss.item() == pytest.approx(output.loss.item(), rel=tolerance)
    gradients = values_by_hf_name(ours, lambda tensor: tensor.grad)
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:  # positions do not
            assert parameter.grad.norm() > 0, name
            error = (gradients[name] - parameter.grad).norm() / parameter.grad.norm()
            assert error < tolerance, f"{name}: {error:.1e}"


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
def test_a_whole_step_has_the_same_loss_and_gradients(device):
    assert_same_step(device, {"cpu": 1e-5, "cuda": 1e-4}[device])


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
def test_a_whole_step_in_bf16_has_nearly_the_same_loss_and_gradients(device):
    assert_same_step(device, 0.1, half=True)


def test_silence_in_half_a_clip_changes_loss_and_gradients():
    ours, _ = same_models()
    examples, waves = random_examples(6, seed=2, num_learned=4)
    before = step_of(ours, examples, waves)
    gradient = ours.encoder.conv1.weight.grad.clone()
    ours.zero_grad()
    waves[0] = waves[0].copy()
    waves[0][: len(waves[0]) // 2] = 0.0
    after = step_of(ours, examples, waves)
    assert abs(float(after - before)) > 1e-4 * float(before)
    assert (ours.encoder.conv1.weight.grad - gradient).norm() > 1e-4 * gradient.norm()
