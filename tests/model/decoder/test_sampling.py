import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from audio_lm.common.errors import RecipeError
from audio_lm.model.decoder.sampling import SamplingConfig, choose_tokens, probabilities
from tests.devices import DEVICES


@pytest.mark.parametrize(
    ("top_k", "top_p"), [(None, 1.0), (5, 1.0), (None, 0.7), (8, 0.6), (1, 1.0), (None, 0.01)]
)
def test_probabilities_equal_those_of_hugging_face(top_k, top_p):
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(1)) * 3
    theirs = TemperatureLogitsWarper(0.7)(None, logits.double())
    if top_k is not None:
        theirs = TopKLogitsWarper(top_k)(None, theirs)
    if top_p < 1:
        theirs = TopPLogitsWarper(top_p)(None, theirs)
    ours = probabilities(logits, SamplingConfig(0.7, top_k, top_p))
    expected = theirs.softmax(-1)
    torch.testing.assert_close(ours / ours.sum(-1, keepdim=True), expected, atol=1e-7, rtol=1e-6)
    assert torch.equal(ours > 0, expected > 0)


def test_draws_have_the_probabilities():
    logits = torch.tensor([[0.0, 1.0, 2.0, -torch.inf]]).repeat(4000, 1)
    drawn = choose_tokens(logits, SamplingConfig(1.0), [("x", row) for row in range(4000)])
    shares = torch.bincount(drawn, minlength=4) / 4000
    torch.testing.assert_close(shares.double(), logits[0].double().softmax(-1), atol=0.03, rtol=0)
    assert shares[3] == 0


def test_a_draw_depends_on_its_key_and_seed_alone():
    logits = torch.randn(5, 50)
    keys = [("clip", row, 0) for row in range(5)]
    together = choose_tokens(logits, SamplingConfig(2.0, seed=1), keys)
    alone = [
        int(choose_tokens(logits[row : row + 1], SamplingConfig(2.0, seed=1), [keys[row]]))
        for row in range(5)
    ]
    assert together.tolist() == alone
    assert together.tolist() != choose_tokens(logits, SamplingConfig(2.0, seed=2), keys).tolist()


def test_temperature_0_takes_the_most_probable_token():
    logits = torch.randn(3, 20)
    assert torch.equal(choose_tokens(logits, SamplingConfig(), [()] * 3), logits.argmax(-1))


@pytest.mark.parametrize(
    "values", [{"temperature": -1}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}]
)
def test_an_impossible_setting_is_refused(values):
    with pytest.raises(RecipeError, match=next(iter(values))):
        SamplingConfig(**values)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("config", [SamplingConfig(), SamplingConfig(0.8), SamplingConfig(1.2, 50, 0.9)])
def test_a_device_draws_the_tokens_of_the_cpu(device, config):
    logits = torch.randn(100, 5_000, generator=torch.Generator().manual_seed(2)) * 2
    keys = [("clip", row, 0) for row in range(100)]
    tokens = choose_tokens(logits.to(device), config, keys)
    assert tokens.device.type == device
    assert tokens.tolist() == choose_tokens(logits, config, keys).tolist()
