"""Preference loss of packed pairs, against a loss written out for single conversations."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy, logsigmoid

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.dpo import DpoModule, document_log_probabilities
from audio_lm.training.objective_config import AnswerRule, DpoConfig
from audio_lm.training.param_groups import learning_rates
from audio_lm.training.schedules import rate_factor

DEFAULT = DpoConfig()
RATES = dict.fromkeys(("encoder", "projector", "new_tokens", "language_model"), 1e-3)


@pytest.fixture
def cuts(make_cuts):
    """Cuts with a conversation about one clip, and a rejected answer."""
    cuts = make_cuts(3)
    for number, cut in enumerate(cuts):
        question = {"role": "user", "content": [{"audio": 1}, {"text": "What do you hear?"}]}
        answer = {"role": "assistant", "content": [{"text": "one two three" if number else "two"}]}
        cut.supervisions[0].custom |= {"conversation": [question, answer], "rejected": "zero one"}
    return cuts


def pack_of(cuts, vocabulary, references=None):
    maker = ExampleMaker(vocabulary, "chatml", rule=AnswerRule(is_paired=True))
    examples = [maker.example(cut, "chat", number) for number, cut in enumerate(cuts)]
    if references is not None:
        examples = [replace(one, reference=pair) for one, pair in zip(examples, references, strict=True)]
    return Collator()(list(map(with_example, cuts, examples)))


def module_of(model, config=DEFAULT):
    parts = {name: PartConfig(lr=lr) for name, lr in RATES.items()}
    return DpoModule(
        model,
        config=config,
        rate_of=learning_rates([name for name, _ in model.named_parameters()], parts),
        factor=partial(rate_factor, kind="constant", steps=10, warmup_steps=0, floor=0.0),
        optimizer=OptimizerConfig(weight_decay=0.0, clip=0.0),
    )


def gradients(module, pack, weight=1.0):
    module.model.zero_grad()
    loss = module.compute_loss(pack, weight)
    loss.total.backward()
    return loss, {name: value.grad.clone() for name, value in module.model.named_parameters()}


def log_probability(model, document):
    """Log-probability of the answer of one document, from its logits."""
    pack = Collator()([document])
    return -cross_entropy(model(pack), pack.labels, reduction="sum")


def documents_of(cuts, vocabulary):
    """Chosen and rejected conversations of the cuts, each an example without the other."""
    maker = ExampleMaker(vocabulary, "chatml", rule=AnswerRule(is_paired=True))
    for cut in cuts:
        example = maker.example(cut, "chat")
        rejected = replace(example.rejected, num_samples=example.num_samples)
        yield with_example(cut, replace(example, rejected=None)), with_example(cut, rejected)


def test_loss_and_gradients_are_those_of_single_conversations(cuts, vocabulary, make_model):
    model, reference = make_model(), make_model()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    pairs = list(documents_of(cuts, vocabulary))
    losses, references = [], []
    for chosen, rejected in pairs:
        with torch.no_grad():
            of_pair = [float(log_probability(reference, each)) for each in (chosen, rejected)]
        references.append(tuple(of_pair))
        ratios = [log_probability(model, each) - of_pair[n] for n, each in enumerate((chosen, rejected))]
        losses.append(-logsigmoid(0.3 * (ratios[0] - ratios[1])))
    torch.stack(losses).sum().backward()
    expected = {name: value.grad.clone() for name, value in model.named_parameters()}
    module = module_of(model, DpoConfig(beta=0.3))
    loss, found = gradients(module, pack_of(cuts, vocabulary, references))
    total, count = loss.sums["chat"]
    assert count == len(cuts)
    torch.testing.assert_close(total, float(torch.stack(losses).sum()), rtol=1e-6, atol=1e-6)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=2e-6, msg=name)


def test_shared_audio_has_the_gradients_of_audio_that_is_encoded_twice(cuts, vocabulary, make_model):
    """In double precision, so that only the sharing can make a difference."""
    model = make_model().double()
    shared = pack_of(cuts, vocabulary, [(-3.0, -2.0)] * len(cuts))
    assert len(shared.num_samples) == len(cuts)
    ends = torch.tensor(shared.num_samples).cumsum(0).tolist()
    waves = [shared.waves[end - count : end] for end, count in zip(ends, shared.num_samples, strict=True)]
    twice = replace(
        shared,
        audio_source=None,
        waves=torch.cat([wave for wave in waves for _ in "12"]),
        num_samples=tuple(count for count in shared.num_samples for _ in "12"),
    )
    module = module_of(model)
    (loss, found), (expected_loss, expected) = gradients(module, shared), gradients(module, twice)
    assert loss.sums["chat"][0] == pytest.approx(expected_loss.sums["chat"][0], rel=1e-9)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3
    for name, gradient in expected.items():
        # The log-mel spectrogram is computed in single precision.
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9, msg=name)


def test_at_the_reference_every_loss_is_that_of_equal_answers(cuts, vocabulary, make_model):
    model = make_model().eval()
    values = document_log_probabilities(model, pack_of(cuts, vocabulary)).reshape(-1, 2).tolist()
    pack = pack_of(cuts, vocabulary, values)
    for config, expected in {
        DpoConfig(): 0.6931471805599453,
        DpoConfig(loss="hinge"): 1.0,
        DpoConfig(loss="ipo", beta=0.5): 1.0,
        DpoConfig(loss="apo_zero"): 1.0,
    }.items():
        loss = module_of(model, config).compute_loss(pack)
        assert loss.sums["chat"] == pytest.approx((3 * expected, 3.0), rel=1e-9)
        assert loss.measures["margin"]["chat"][0] == 0.0


def test_cached_log_probabilities_are_those_of_a_live_reference(cuts, vocabulary, make_model):
    """The live reference is a copy of the model that sees the pack of the training step."""
    model = make_model().eval()
    cached = [document_log_probabilities(model, pack_of([cut], vocabulary)).tolist() for cut in cuts]
    live = document_log_probabilities(copy.deepcopy(model), pack_of(cuts[::-1], vocabulary)).reshape(-1, 2)
    torch.testing.assert_close(live.tolist(), cached[::-1], rtol=1e-6, atol=1e-6)


def test_measures_are_by_task_and_compare_with_the_reference(cuts, vocabulary, make_model):
    model = make_model().eval()
    values = document_log_probabilities(model, pack_of(cuts, vocabulary)).reshape(-1, 2).tolist()
    better = [(chosen - 1, rejected) for chosen, rejected in values[:2]]
    worse = [(values[2][0], values[2][1] - 3)]
    loss = module_of(model, DpoConfig(beta=0.5)).compute_loss(pack_of(cuts, vocabulary, better + worse))
    sums = {name: of_task["chat"] for name, of_task in loss.measures.items()}
    assert sums["accuracy"] == (2.0, 3.0)
    assert sums["margin"] == pytest.approx((0.5 * (1 + 1 - 3), 3.0))
    assert sums["logp_chosen"] == pytest.approx((sum(chosen for chosen, _ in values), 3.0))
    assert sums["logp_rejected"] == pytest.approx((sum(rejected for _, rejected in values), 3.0))


def test_a_pair_without_a_reference_is_not_learned(cuts, vocabulary, make_model):
    """Its audio could not be read when the reference was computed."""
    missing = float("nan")
    pack = pack_of(cuts, vocabulary, [(-3.0, -2.0), (missing, missing), (-3.0, -2.0)])
    assert pack.num_units == 2
    loss = module_of(make_model()).compute_loss(pack)
    assert loss.sums["chat"][1] == 2.0
    assert torch.isfinite(loss.total)


def test_a_pack_without_pairs_in_the_loss_has_zero_gradients(cuts, vocabulary, make_model):
    pack = pack_of(cuts, vocabulary, [(-3.0, -2.0)] * 3).without_labels()
    module = module_of(make_model())
    assert module.num_counted(pack) == 0
    loss, found = gradients(module, pack)
    assert loss.sums["chat"] == (0.0, 0.0)
    assert all(not gradient.any() for gradient in found.values())
