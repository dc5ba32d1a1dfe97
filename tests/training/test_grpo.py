"""Policy gradient of sampled answers, against a loss written out for single answers."""

import copy
from functools import partial

import pytest
import torch
from torch.nn.functional import log_softmax

from audio_lm.common.rng import random_for
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.dpo import document_of_positions
from audio_lm.training.grpo import AnswerFormat, GrpoModule
from audio_lm.training.objective_config import AnswerRule, GrpoConfig
from audio_lm.training.param_groups import learning_rates
from audio_lm.training.schedules import rate_factor
from tests.forked import on_ranks, together

RATES = dict.fromkeys(("encoder", "projector", "new_tokens", "language_model"), 1e-3)
REWARDS = {"rouge_l": 1.0}


@pytest.fixture
def cuts(make_cuts):
    return make_cuts(2)


def questions_of(cuts, vocabulary, config):
    rule = AnswerRule(num_sampled=config.num_answers, max_new_tokens=config.max_new_tokens)
    maker = ExampleMaker(vocabulary, "natural", with_answer=False, rule=rule)
    return Collator()([with_example(cut, maker.example(cut, "asr", n)) for n, cut in enumerate(cuts)])


def reward_of(text):
    """Stand-in for a metric: a number that differs between answers."""
    return round(random_for(0, "reward", text).random(), 3)


def module_of(model, vocabulary, config, seed=0):
    parts = {name: PartConfig(lr=lr) for name, lr in RATES.items()}
    module = GrpoModule(
        model.eval(),
        config=config,
        answers=AnswerFormat(vocabulary.text, vocabulary.end_id),
        rate_of=learning_rates([name for name, _ in model.named_parameters()], parts),
        factor=partial(rate_factor, kind="constant", steps=10, warmup_steps=0, floor=0.0),
        optimizer=OptimizerConfig(weight_decay=0.0, clip=0.0),
        seed=seed,
    )
    module.rewards.of = lambda answer, reference, language: {"rouge_l": reward_of(answer)}
    return module


def sample(module, questions, step=3):
    (pack,) = module.prepare_packs([questions], step)
    return pack


@pytest.mark.parametrize(
    "config",
    [
        GrpoConfig(REWARDS, num_answers=3, max_new_tokens=5),
        GrpoConfig(REWARDS, num_answers=3, max_new_tokens=5, loss="dapo", scale="none", temperature=0.7),
        GrpoConfig(REWARDS, num_answers=3, max_new_tokens=5, kl=0.3),
    ],
    ids=["grpo", "dapo", "kl"],
)
def test_the_gradient_is_that_of_the_written_out_loss(cuts, vocabulary, make_model, config):
    model = make_model()
    module = module_of(model, vocabulary, config)
    reference = copy.deepcopy(model)
    with torch.no_grad():  # away from the weights that the stage started from
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    pack = sample(module, questions_of(cuts, vocabulary, config))
    loss = module.compute_loss(pack, weight=1 / module.num_counted(pack))
    loss.total.backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters()}

    model.zero_grad()
    logp = log_softmax(model(pack) / config.temperature, -1).gather(1, pack.labels[:, None])[:, 0]
    document = document_of_positions(pack)
    advantage = pack.advantages[document]
    terms = -(logp - logp.detach()).exp() * advantage
    if config.kl:
        with torch.no_grad():
            other = log_softmax(reference(pack), -1).gather(1, pack.labels[:, None])[:, 0]
        terms = terms + config.kl * ((other - logp).exp() - (other - logp) - 1)
    if config.loss == "grpo":
        counts = torch.bincount(document).double()
        total = (terms / counts[document]).sum() / (config.num_answers * len(cuts))
    else:
        total = terms.mean()
    total.backward()
    assert float(loss.sums["asr"][0]) / module.num_counted(pack) == pytest.approx(float(total), abs=1e-6)
    assert max(float(value.grad.abs().max()) for value in model.parameters()) > 1e-4
    for name, value in model.named_parameters():
        torch.testing.assert_close(found[name], value.grad, rtol=2e-4, atol=2e-6, msg=name)


def test_the_answers_depend_on_seed_and_step_and_not_on_the_pack(cuts, vocabulary, make_model):
    config = GrpoConfig(REWARDS, num_answers=2, max_new_tokens=5, kl=0.1)
    model = make_model()
    both = questions_of(cuts, vocabulary, config)
    first = sample(module_of(model, vocabulary, config), both)
    again = sample(module_of(model, vocabulary, config), both)
    assert torch.equal(first.token_ids, again.token_ids)
    alone = sample(module_of(model, vocabulary, config), questions_of(cuts[:1], vocabulary, config))
    assert torch.equal(first.token_ids[: len(alone.token_ids)], alone.token_ids)
    others = [
        sample(module_of(model, vocabulary, config), both, step=4),
        sample(module_of(model, vocabulary, config, seed=1), both),
    ]
    assert all(first.token_ids.tolist() != other.token_ids.tolist() for other in others)


def test_groups_with_equal_rewards_are_not_learned_but_counted(cuts, vocabulary, make_model):
    config = GrpoConfig(REWARDS, num_answers=2, max_new_tokens=4)
    module = module_of(make_model(), vocabulary, config)
    module.rewards.of = lambda answer, reference, language: {"rouge_l": 0.5}
    pack = sample(module, questions_of(cuts, vocabulary, config))
    assert pack.num_learned == 0
    assert module.num_counted(pack) == 4
    loss = module.compute_loss(pack)
    assert loss.measures["equal_groups"]["asr"] == (2.0, 2.0)
    assert loss.measures["reward"]["asr"] == (2.0, 4.0)


def test_a_question_with_bad_audio_gets_no_answers(cuts, vocabulary, make_model):
    config = GrpoConfig(REWARDS, num_answers=2, max_new_tokens=4)
    module = module_of(make_model(), vocabulary, config)
    pack = sample(module, questions_of(cuts, vocabulary, config).without_labels())
    assert module.num_counted(pack) == 0
    assert module.compute_loss(pack).measures == {}


def test_learned_tokens_are_counted_and_survive_a_resume(cuts, vocabulary, make_model):
    config = GrpoConfig(REWARDS, num_answers=3, max_new_tokens=5)
    module = module_of(make_model(), vocabulary, config)
    packs = [sample(module, questions_of(cuts, vocabulary, config), step) for step in range(2)]
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    resumed = module_of(make_model(), vocabulary, config)
    resumed.on_load_checkpoint(checkpoint)
    assert resumed.further_curves() == {"learned_tokens": float(sum(pack.num_learned for pack in packs))}


def test_learned_tokens_of_two_ranks_are_restored_from_the_state_of_the_first(vocabulary, make_model):
    def resume(number):
        module, resumed = (module_of(make_model(), vocabulary, GrpoConfig(REWARDS)) for _ in range(2))
        module.num_learned_tokens = (10.0, 3.0)[number]
        checkpoint = {}
        module.on_save_checkpoint(checkpoint)
        states = [None, None]
        torch.distributed.all_gather_object(states, checkpoint)
        resumed.on_load_checkpoint(states[0])
        resumed.num_learned_tokens += 1.0
        return resumed.further_curves()

    assert on_ranks(2, together(resume)) == [{"learned_tokens": 15.0}] * 2


def test_the_weights_are_the_same_after_the_reference_was_computed(cuts, vocabulary, make_model):
    config = GrpoConfig(REWARDS, num_answers=2, max_new_tokens=4, kl=0.1)
    model = make_model()
    module = module_of(model, vocabulary, config)
    with torch.no_grad():
        model.projector.linear.weight += 0.1
    before = copy.deepcopy(model.state_dict())
    pack = sample(module, questions_of(cuts, vocabulary, config))
    assert module.compute_loss(pack).measures["kl"]["asr"][0] > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
