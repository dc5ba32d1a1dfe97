import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from audio_lm.bench.batches import batches_of
from audio_lm.bench.flops import encoder_flops, head_flops, language_model_flops, step_flops
from audio_lm.bench.step import STAGES, Bench, _ours
from tests.bench.test_step import MODEL

CPU = torch.device("cpu")
PACK = batches_of(1, 3, 3, 500, CPU)[0].pack


@pytest.fixture(scope="module")
def model():
    return _ours(Bench(model=MODEL, num_ids=500, stage="all"), CPU)


def attention_flops(model):
    """What the counter does not see: the custom operation."""
    text = sum(
        (b - a) ** 2 for a, b in zip(PACK.cu_seq_lens.tolist(), PACK.cu_seq_lens.tolist()[1:], strict=False)
    )
    frames = [-(-count // 320) for count in PACK.num_samples]
    return 2 * text * 64 * 3, 4 * sum(count**2 for count in frames) * 64 * 2


def test_matrix_products_are_those_torch_counts(model):
    text, heard = attention_flops(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        audio = model.encode_audio(PACK.waves, PACK.num_samples)
    mel = sum(PACK.num_samples) / 160 * 201 * 80 * 2
    assert encoder_flops(model, PACK) - heard == pytest.approx(counter.get_total_flops() - mel, rel=0.03)
    assert len(audio) == PACK.audio_index.numel()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        hidden = model.hidden(PACK)
    said = counter.get_total_flops()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.embed(PACK)
    assert language_model_flops(model, PACK) - text == pytest.approx(
        said - counter.get_total_flops(), rel=1e-3
    )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.logits(hidden[PACK.learned_index])
    assert head_flops(model, PACK) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("stage", "encoder", "language_model"), [("encoder", 3, 2), ("llm", 1, 3), ("lora", 1, 2), ("all", 3, 3)]
)
def test_frozen_parts_cost_what_they_cost(model, stage, encoder, language_model):
    said = language_model_flops(model, PACK) + head_flops(model, PACK)
    expected = encoder * encoder_flops(model, PACK) + language_model * said
    assert step_flops(model, PACK, STAGES[stage]) == pytest.approx(expected)
