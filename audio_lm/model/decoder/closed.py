"""Allowed answers: their log-probabilities from one forward pass, and greedy decoding that generates no other.

The tokens of the allowed answers form a tree. The nodes of the tree follow the prompt in one row; the attention mask
lets a node see the prompt and the nodes above it, so the audio and the prompt are computed once for all answers.

Shapes: B conversations, L longest prompt, M nodes of the largest tree, D width, V tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.generate import AllowedTokens, eval_mode, padded_left
from audio_lm.model.decoder.language_model import use_padded_attention

ROOT = -1  # the prompt, as the parent of a node
MAX_LOGIT_ROWS = 256  # ours: with 150 000 tokens in 32 bits, 150 MB
Path = tuple[int, ...]


@dataclass(frozen=True)
class AnswerTree:
    """Tree of the tokens of allowed answers.

    A node is a token that leads to a choice between several tokens. What follows the last choice is the only allowed
    text, so its probability is 1 and nothing is computed for it.

    Args:
        paths: token ids of each answer, the end included; none is the beginning of another.
    """

    paths: tuple[Path, ...]
    followers: dict[Path, list[int]] = field(init=False)
    """Tokens that may follow each beginning of an answer, in the order of the answers."""

    node_of: dict[Path, int] = field(init=False)
    """Node of each beginning that leads to a choice; that of the empty one is ``ROOT``."""

    def __post_init__(self) -> None:
        """Build the nodes.

        Raises:
            ValueError: an answer is empty, or the beginning of another.
        """
        followers: dict[Path, list[int]] = {}
        for path in self.paths:
            for end in range(len(path)):
                tokens = followers.setdefault(path[:end], [])
                if path[end] not in tokens:
                    tokens.append(path[end])
        is_distinct = len(set(self.paths)) == len(self.paths) and not any(map(followers.get, self.paths))
        if not is_distinct or not all(self.paths) or not self.paths:
            raise ValueError("an allowed answer is empty, equal to another, or the beginning of another")
        leading = {
            path[:end]
            for path, tokens in followers.items()
            if len(tokens) > 1
            for end in range(len(path) + 1)
        }
        beginnings = [(), *(path for path in followers if path and path in leading)]  # parents come first
        object.__setattr__(self, "followers", followers)
        object.__setattr__(self, "node_of", {path: node for node, path in enumerate(beginnings, start=ROOT)})

    def __len__(self) -> int:
        return len(self.node_of) - 1

    @property
    def beginnings(self) -> list[Path]:
        """Tokens up to each node, the node's own included."""
        return [path for path in self.node_of if path]


@dataclass(frozen=True)
class ClosedAnswer:
    """Result for one conversation."""

    best: int
    """Index of the answer that greedy decoding among the allowed ones generates."""

    logprobs: tuple[float, ...]
    """Log-probability of every answer among the allowed ones, token by token; their probabilities sum to 1."""


@torch.no_grad()
def score_answers(model: AudioLM, pack: PackedBatch, trees: Sequence[AnswerTree]) -> list[ClosedAnswer]:
    """Log-probabilities of the allowed answers to each conversation of a pack, from one forward pass.

    Args:
        pack: prompts without answers.
        trees: allowed answers to each conversation.
    """
    pack = pack.to(model.new_tokens.input.device)
    with eval_mode(model):
        rows_BLD, mask_BL = padded_left(model.embed(pack), pack.cu_seq_lens.tolist()[: len(pack) + 1])
        with use_padded_attention(model.language_model):
            states_BTD = _states_of_nodes(model, rows_BLD, mask_BL, trees)
    rows = [states_TD[: 1 + len(tree)] for tree, states_TD in zip(trees, states_BTD, strict=True)]
    # Some conversations at a time: one alone reads the whole output layer, and the logits of all would need much memory.
    at_a_time = max(1, MAX_LOGIT_ROWS // states_BTD.shape[1])
    answers: list[ClosedAnswer] = []
    for start in range(0, len(rows), at_a_time):
        some = rows[start : start + at_a_time]
        logits_NV = model.logits(torch.cat(some)).split([*map(len, some)])
        answers += map(_closed_answer, trees[start : start + at_a_time], logits_NV)
    return answers


def _states_of_nodes(
    model: AudioLM, rows_BLD: Tensor, mask_BL: Tensor, trees: Sequence[AnswerTree]
) -> Tensor:
    """(B, 1 + M, D) last hidden states after the prompt, then after each node."""
    device, length = rows_BLD.device, rows_BLD.shape[1]
    num_nodes = max(map(len, trees), default=0)
    tokens_BM = torch.zeros(len(trees), num_nodes, dtype=torch.long, device=device)
    depths_BM = torch.zeros_like(tokens_BM)
    for row, tree in enumerate(trees):
        last, depths = [path[-1] for path in tree.beginnings], [len(path) for path in tree.beginnings]
        tokens_BM[row, : len(tree)] = torch.tensor(last, dtype=torch.long, device=device)
        depths_BM[row, : len(tree)] = torch.tensor(depths, dtype=torch.long, device=device)
    positions_BL = (mask_BL.cumsum(1) - 1).clamp(min=0)
    inputs = torch.cat([rows_BLD, model.embed_tokens(tokens_BM).to(rows_BLD.dtype)], dim=1)
    output = model.language_model.base_model(
        inputs_embeds=inputs,
        attention_mask=_attention_mask(mask_BL, trees, num_nodes),
        position_ids=torch.cat([positions_BL, positions_BL[:, -1:] + depths_BM], dim=1),
        use_cache=False,
    )
    states_BTD: Tensor = output.last_hidden_state[:, length - 1 :]
    return states_BTD


def _attention_mask(mask_BL: Tensor, trees: Sequence[AnswerTree], num_nodes: int) -> Tensor:
    """(B, 1, L + M, L + M) mask, true where a position (row) sees another (column)."""
    num_rows, length = mask_BL.shape
    size = length + num_nodes
    seen = torch.ones(size, size, dtype=torch.bool, device=mask_BL.device).tril().repeat(num_rows, 1, 1)
    seen[:, :, :length] &= mask_BL[:, None].bool()
    seen[:, length:, length:] = False
    blocks = {id(tree): _ancestors(tree) for tree in trees}
    for row, tree in enumerate(trees):
        end = length + len(tree)
        seen[row, length:end, length:end] = blocks[id(tree)].to(seen.device)
    # A row that sees nothing has no softmax: padding sees itself.
    seen.diagonal(dim1=1, dim2=2).fill_(True)
    return seen[:, None]


def _ancestors(tree: AnswerTree) -> Tensor:
    """(M, M) true where a node (row) is below another (column), or the same."""
    seen = torch.eye(len(tree), dtype=torch.bool)
    for node, path in enumerate(tree.beginnings):
        parent = tree.node_of[path[:-1]]
        if parent != ROOT:  # parents come before their children
            seen[node] |= seen[parent]
    return seen


def _closed_answer(tree: AnswerTree, logits_NV: Tensor) -> ClosedAnswer:
    logprob_of: dict[Path, float] = {}
    for path, tokens in tree.followers.items():
        if len(tokens) > 1:
            index = torch.tensor(tokens, device=logits_NV.device)
            values = logits_NV[tree.node_of[path] + 1, index].log_softmax(-1).tolist()
            logprob_of |= {(*path, token): value for token, value in zip(tokens, values, strict=True)}
    logprobs = tuple(
        math.fsum(logprob_of.get(path[:end], 0.0) for end in range(1, len(path) + 1)) for path in tree.paths
    )
    best: Path = ()
    while tokens := tree.followers.get(best, []):
        best = max(((*best, token) for token in tokens), key=lambda longer: logprob_of.get(longer, 0.0))
    return ClosedAnswer(tree.paths.index(best), logprobs)


def allowed_tokens(trees: Sequence[AnswerTree], end_id: int) -> AllowedTokens:
    """Restriction of greedy decoding to allowed answers: generates them token by token, for comparison.

    Args:
        end_id: token that follows a whole answer.
    """

    def tokens_after(conversation: int, answer: list[int], /) -> list[int]:
        return trees[conversation].followers.get(tuple(answer), [end_id])

    return tokens_after
