import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from audio_lm.bench.batches import make_batches
from audio_lm.bench.flops import encoder_flops, head_flops, language_model_flops, step_flops
from audio_lm.bench.step import STAGES, Bench, build_ours
from tests.bench.test_step import MODEL

CPU = torch.device("cpu")
PACK = make_batches(1, 3, 3, 500, CPU)[0].pack


@pytest.fixture(scope="module")
def model():
    return build_ours(Bench(model=MODEL, num_ids=500, stage="all"), CPU)


def attention_flops(model):
    """FLOPs of packed attention, a custom operation that the counter ignores."""
    text = sum(
        (b - a) ** 2 for a, b in zip(PACK.cu_seq_lens.tolist(), PACK.cu_seq_lens.tolist()[1:], strict=False)
    )
    frames = [-(-count // 320) for count in PACK.num_samples]
    return 2 * text * 64 * 3, 4 * sum(count**2 for count in frames) * 64 * 2


def test_matrix_products_match_the_flop_counter_of_torch(monkeypatch, model):
    # The counter ignores products of oneDNN.
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    text, audio_attention = attention_flops(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        audio = model.encode_audio(PACK.waves, PACK.num_samples)
    mel = sum(PACK.num_samples) / 160 * 201 * 80 * 2
    assert encoder_flops(model, PACK) - audio_attention == pytest.approx(
        counter.get_total_flops() - mel, rel=0.03
    )
    assert len(audio) == PACK.audio_index.numel()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        hidden = model.hidden(PACK)
    hidden_flops = counter.get_total_flops()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.embed(PACK)
    assert language_model_flops(model, PACK) - text == pytest.approx(
        hidden_flops - counter.get_total_flops(), rel=1e-3
    )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.logits(hidden[PACK.learned_index])
    assert head_flops(model, PACK) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("stage", "encoder", "language_model"), [("encoder", 3, 2), ("llm", 1, 3), ("lora", 1, 2), ("all", 3, 3)]
)
def test_frozen_parts_count_without_gradients_of_weights(model, stage, encoder, language_model):
    decoder = language_model_flops(model, PACK) + head_flops(model, PACK)
    expected = encoder * encoder_flops(model, PACK) + language_model * decoder
    assert step_flops(model, PACK, STAGES[stage]) == pytest.approx(expected)
