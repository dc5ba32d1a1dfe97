"""Group relative policy optimization: sample answers to questions, and learn from those with more reward than the others.

Answers are sampled by the model that is trained, in the process that trains it, and used for one update. A draw depends on
the seed, the step, the conversation and the number of the answer, so a resumed run samples the same answers. Groups without
a difference in reward have no gradient and are left out, unless there is a KL term.

Shapes: P learned positions, B documents.
Source: arXiv:2402.03300, equations 3 and 4; trl 1.16, ``trl/trainer/grpo_trainer.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.generate import GenerationOptions, generate
from audio_lm.model.decoder.sampling import SamplingConfig
from audio_lm.training.distributed import all_reduce_sum
from audio_lm.training.dpo import document_of_positions
from audio_lm.training.fsdp import reshard, summon_full_params
from audio_lm.training.losses import LossSums, sums_by_task
from audio_lm.training.objective_config import GrpoConfig
from audio_lm.training.rewards import Rewards, group_advantages, have_equal_rewards
from audio_lm.training.sampled_pack import SampledAnswer, pack_answers
from audio_lm.training.step import StepLoss, WithoutDropout

LEARNED_TOKENS = "learned_tokens"
Measures = dict[str, dict[str, tuple[float, float]]]


class TextOf(Protocol):
    """Decoder of token ids."""

    def __call__(self, ids: Sequence[int], /) -> str:
        """Text with markup."""


class AnswerFormat(NamedTuple):
    """Tokens of an answer as text, and its end."""

    text_of: TextOf
    end_id: int


class GrpoModule(WithoutDropout):
    """Policy gradient of sampled answers.

    Args:
        config: rewards, sampling and loss.
        answers: end and text of answers.
    """

    def __init__(self, model: AudioLM, *, config: GrpoConfig, answers: AnswerFormat, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.config = config
        self.answers = answers
        self.rewards = Rewards(config.rewards)
        self.num_learned_tokens = 0.0  # of this rank, since the start of the process
        self._restored_tokens = 0.0  # of all ranks, before it
        self._measures_of: dict[int, Measures] = {}
        # Of the trained weights only: the others stay what they are.
        self._start = {
            name: _local(value).detach().clone()
            for name, value in model.named_parameters()
            if config.kl and self.rate_of[name] is not None
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The checkpoint is that of the first rank, and every rank reads it.
        checkpoint.update(self.further_curves())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._restored_tokens = checkpoint.get(LEARNED_TOKENS, 0.0)

    def prepare_packs(self, packs: Sequence[PackedBatch], step: int) -> list[PackedBatch]:
        """Sample answers to the questions of the packs."""
        self._measures_of = {}
        with summon_full_params(self.model):
            sampled = [self._sample(number, pack, step) for number, pack in enumerate(packs)]
        self.num_learned_tokens += sum(pack.num_learned for pack in sampled)
        return sampled

    def _sample(self, number: int, questions: PackedBatch, step: int) -> PackedBatch:
        """Sample answers to the questions of a pack, and pack those that are learned."""
        config = self.config
        sampling = SamplingConfig(temperature=config.temperature, seed=self.seed)
        options = GenerationOptions(
            {self.answers.end_id}, config.max_new_tokens, sampling, num_answers=config.num_answers
        )
        keys = [f"{step} {position}" for position in questions.positions]
        groups = generate(self.model, questions, options, keys=keys)
        measures: Measures = {}
        learned, num_answers, num_tokens = list[SampledAnswer](), 0, 0
        for conversation, (group, target) in enumerate(zip(groups, questions.targets, strict=True)):
            if target is None:
                continue
            task = questions.task_names[conversation]
            values = [self.rewards.of(self.answers.text_of(one.token_ids), *target) for one in group]
            rewards_1G = torch.tensor([[self.rewards.total(each) for each in values]], dtype=torch.float64)
            is_equal = bool(have_equal_rewards(rewards_1G)[0])
            ids = [[*one.token_ids, *([self.answers.end_id] if one.is_ended else [])] for one in group]
            num_answers += len(group)
            num_tokens += sum(map(len, ids))
            if config.kl or not is_equal:
                advantages = group_advantages(rewards_1G, config.scale)[0].tolist()
                learned += map(SampledAnswer, [conversation] * len(ids), ids, advantages)
            _add(measures, "equal_groups", task, [float(is_equal)])
            _add(measures, "reward", task, rewards_1G[0].tolist())
            _add(measures, "answer_tokens", task, list(map(len, ids)))
            _add(measures, "ended", task, [float(one.is_ended) for one in group])
            for name in self.rewards.weights if len(self.rewards.weights) > 1 else ():
                _add(measures, f"reward_{name}", task, [each[name] for each in values])
        num_units = num_answers if config.loss == "grpo" else num_tokens
        pack = replace(pack_answers(questions, learned), num_units=num_units)
        self._measures_of[id(pack)] = measures
        return pack

    def further_curves(self) -> dict[str, float]:
        """Tokens of all sampled answers that were learned, up to now."""
        (learned,) = all_reduce_sum(self.num_learned_tokens)
        return {LEARNED_TOKENS: self._restored_tokens + learned / self.tensor_parallel}

    def num_counted(self, pack: PackedBatch) -> int:
        """Number of sampled answers, or of their tokens."""
        return pack.num_units

    def compute_loss(self, pack: PackedBatch, weight: float = 1.0) -> StepLoss:
        """Compute the summed loss of the answers of one pack; see ``TrainStep``."""
        reference_P = self._reference(pack) if self.config.kl else None
        loss = _AnswerLoss(self.config, pack, weight, reference_P)
        total = self.model.loss(pack, weights_of=loss, temperature=self.config.temperature).total
        measures: dict[str, LossSums] = {**self._measures_of.get(id(pack), {}), **loss.measures}
        return StepLoss(total, loss.sums, measures)

    @torch.no_grad()
    def _reference(self, pack: PackedBatch) -> Tensor:
        """(P,) cross-entropy under the weights that the stage started from."""
        with self._start_weights():
            return self.model.loss(pack, temperature=self.config.temperature).losses

    @contextmanager
    def _start_weights(self) -> Iterator[None]:
        """Context in which the model has the weights that the stage started from; a collective."""
        own = {name: _local(value) for name, value in self.model.named_parameters() if name in self._start}
        kept = {name: value.detach().clone() for name, value in own.items()}
        try:
            for name, value in own.items():
                value.detach().copy_(self._start[name])
            reshard(self.model)  # without a backward pass the root module keeps the weights that it gathered
            yield
        finally:
            for name, value in own.items():
                value.detach().copy_(kept[name])
            reshard(self.model)

    def validation_step(
        self, packs: tuple[PackedBatch, ...], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Reward of the most probable answers; the loss is its negative."""
        options = GenerationOptions({self.answers.end_id}, self.config.max_new_tokens)
        for pack in packs:
            measures: Measures = {}
            with summon_full_params(self.model):
                groups = generate(self.model, pack, options)
            for conversation, (group, target) in enumerate(zip(groups, pack.targets, strict=True)):
                if target is not None:
                    reward = self.rewards.total(
                        self.rewards.of(self.answers.text_of(group[0].token_ids), *target)
                    )
                    _add(measures, "reward", pack.task_names[conversation], [reward])
            rewards = measures.get("reward", {})
            self.val_loss.update([{task: (-total, count) for task, (total, count) in rewards.items()}])
            self.val_measures.add([measures])


class _AnswerLoss:
    """Policy gradient of the answers of a pack as a weighted cross-entropy, and what is logged about it."""

    def __init__(
        self, config: GrpoConfig, pack: PackedBatch, weight: float, reference_P: Tensor | None
    ) -> None:
        self.config = config
        self.pack = pack
        self.weight = weight
        self.reference_P = reference_P
        self.sums: LossSums = {}
        self.measures: Mapping[str, LossSums] = {}

    def __call__(self, losses_P: Tensor, /) -> Tensor:
        """Weights (P,) that give the cross-entropy the gradient of the loss."""
        pack, kl = self.pack, self.config.kl
        document_P = document_of_positions(pack)
        assert pack.advantages is not None, "the pack has sampled answers"
        advantage_P = pack.advantages[document_P]
        share_P = torch.ones_like(advantage_P)
        if self.config.loss == "grpo":
            num_tokens_B = torch.zeros_like(pack.advantages).index_add(0, document_P, share_P)
            share_P = share_P / num_tokens_B[document_P]
        # On-policy, the ratio of probabilities is 1, and the gradient of the clipped loss that of the plain one.
        loss_P, weights_P = -advantage_P, advantage_P
        if self.reference_P is not None:
            # The estimator k3 and its derivative by the log-probability.
            ratio_P = (losses_P - self.reference_P).double()
            divergence_P = ratio_P.exp() - ratio_P - 1
            loss_P = loss_P + kl * divergence_P
            weights_P = weights_P + kl * (ratio_P.exp() - 1)
            self.measures = {"kl": sums_by_task(divergence_P, pack.task_index, pack.tasks)}
        self.sums = sums_by_task(loss_P * share_P, pack.task_index, pack.tasks)
        return (weights_P * share_P * self.weight).to(losses_P.dtype)


def _add(measures: Measures, name: str, task: str, values: Sequence[float]) -> None:
    sums = measures.setdefault(name, {})
    total, count = sums.get(task, (0.0, 0.0))
    sums[task] = (total + sum(values), count + len(values))


def _local(value: Tensor) -> Tensor:
    """Values of this rank."""
    return value.to_local() if isinstance(value, torch.distributed.tensor.DTensor) else value
