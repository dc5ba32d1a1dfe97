"""Losses of trl's DPO trainer and advantages of its GRPO trainer, written to ``trl_losses.json``.

    pip install trl==1.16.0      in an environment of its own
    python tests/golden/trl_losses.py

The losses are those that ``DPOTrainer._compute_loss`` returns for log-probabilities that a fake model gives. The advantages are
computed by the lines of ``GRPOTrainer`` that compute them, because they are in the middle of a long method.
"""

import inspect
import json
import textwrap
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch

CASES = [
    {"loss": "sigmoid", "beta": 0.1},
    {"loss": "sigmoid", "beta": 0.7},
    {"loss": "robust", "beta": 0.3, "label_smoothing": 0.2},
    {"loss": "hinge", "beta": 0.2},
    {"loss": "ipo", "beta": 0.1},
    {"loss": "apo_zero", "beta": 0.3},
    {"loss": "sigmoid_norm", "beta": 2.0},
]
NUM_PAIRS, MAX_TOKENS = 6, 9


def pairs():
    """Log-probabilities of tokens and their reference sums, chosen and rejected, in double precision."""
    generator = torch.Generator().manual_seed(0)

    def answer():
        num_tokens = int(torch.randint(1, MAX_TOKENS, (), generator=generator))
        tokens = -4 * torch.rand(num_tokens, generator=generator, dtype=torch.float64)
        return tokens.tolist(), float(
            tokens.sum() + 3 * torch.randn((), generator=generator, dtype=torch.float64)
        )

    return [(answer(), answer()) for _ in range(NUM_PAIRS)]


def loss_of_pair(pair, case):
    """Loss of one pair, by trl."""
    from trl.trainer.dpo_trainer import DPOTrainer

    rows = [torch.tensor(tokens, dtype=torch.float64) for tokens, _ in pair]
    width = max(map(len, rows))
    log_probs, mask = torch.zeros(2, width, dtype=torch.float64), torch.zeros(2, width + 1, dtype=torch.long)
    for row, tokens in enumerate(rows):
        log_probs[row, : len(tokens)] = tokens
        mask[row, 1 : len(tokens) + 1] = 1
    # Everything but log-probabilities is for trl's logs.
    outputs = MagicMock(log_probs=log_probs, entropy=log_probs, mean_logits=log_probs, is_top1=log_probs > 0)
    trainer = MagicMock()
    trainer.model.training, trainer.accelerator.device = True, "cpu"
    trainer.accelerator.gather_for_metrics = trainer.accelerator.gather = lambda value: value
    trainer.aux_loss_enabled, trainer.use_weighting, trainer.ld_alpha = False, False, None
    trainer.precompute_ref_logps, trainer.f_divergence_type = True, "reverse_kl"
    trainer.loss_types, trainer.loss_weights = [case["loss"]], [1.0]
    trainer.beta, trainer.label_smoothing = case["beta"], case.get("label_smoothing", 0.0)
    trainer._metrics = defaultdict(lambda: defaultdict(list))
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "ref_chosen_logps": torch.tensor([pair[0][1]], dtype=torch.float64),
        "ref_rejected_logps": torch.tensor([pair[1][1]], dtype=torch.float64),
    }
    model = MagicMock(return_value=outputs)
    return float(DPOTrainer._compute_loss(trainer, model, inputs, False))


def advantages_of(rewards, num_answers, scale):
    """Advantages of answers, by the lines of trl that compute them."""
    from trl.trainer import grpo_trainer

    source = inspect.getsource(grpo_trainer.GRPOTrainer).splitlines()
    first = next(n for n, line in enumerate(source) if "mean_grouped_rewards = " in line)
    last = next(
        n for n, line in enumerate(source) if n > first and "advantages = advantages / (std_rewards" in line
    )
    values = {
        "self": SimpleNamespace(scale_rewards=scale),
        "rewards": torch.tensor(rewards, dtype=torch.float64),
        "num_generations": num_answers,
        "torch": torch,
        "nanstd": grpo_trainer.nanstd,
    }
    exec(textwrap.dedent("\n".join(source[first : last + 1])), values)
    return values["advantages"].tolist()


def main():
    """Write the golden numbers."""
    made = pairs()
    rewards = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.25, 0.75, 2.0]
    golden = {
        "trl": version("trl"),
        "pairs": made,
        "losses": [{**case, "values": [loss_of_pair(pair, case) for pair in made]} for case in CASES],
        "rewards": rewards,
        "num_answers": 4,
        "advantages": {scale: advantages_of(rewards, 4, scale) for scale in ("group", "none")},
    }
    path = Path(__file__).with_name("trl_losses.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
