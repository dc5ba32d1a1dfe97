"""Measure by how much features of experts reduce the trials that mixture regression needs, on models of a few seconds.

Five sources are Markov chains that share components; a model is a bigram network with a narrow layer, so that sources
interfere. Printed: rank correlation of the objective on 60 unseen mixtures, mean of 6 subsets, for equal numbers of runs
(experts count as runs). Takes two minutes on one core: `python scripts/expert_features.py`.
"""

import sys

import numpy as np

from audio_lm.sweep.experts import MixedProbabilities
from audio_lm.sweep.regression.gp import GaussianProcess
from audio_lm.sweep.regression.points import Encoding
from audio_lm.sweep.regression.surface import rank_correlation

NUM_SOURCES, NUM_SYMBOLS, WIDTH, BATCH, RATE = 5, 24, 6, 64, 0.05
NUM_RUNS = (8, 12, 16, 24, 32, 48)
rng = np.random.default_rng(0)
shared = rng.dirichlet(np.full(NUM_SYMBOLS, 0.3), size=(4, NUM_SYMBOLS))
parts = rng.dirichlet(np.full(4, 0.5), size=NUM_SOURCES)
own = rng.dirichlet(np.full(NUM_SYMBOLS, 0.2), size=(NUM_SOURCES, NUM_SYMBOLS))
CHAINS = 0.6 * np.einsum("kc,cij->kij", parts, shared) + 0.4 * own
INITIAL = [0.5 * rng.standard_normal((NUM_SYMBOLS, WIDTH)), 0.5 * rng.standard_normal((WIDTH, NUM_SYMBOLS))]
FREQUENCY = np.full((NUM_SOURCES, NUM_SYMBOLS), 1 / NUM_SYMBOLS)
for _ in range(50):
    FREQUENCY = np.einsum("ki,kij->kj", FREQUENCY, CHAINS)


def probabilities(weights):
    """Probability of each next symbol, for each symbol."""
    logits = np.tanh(weights[0]) @ weights[1]
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def losses(probability):
    """Expected loss on each source (K)."""
    weight = FREQUENCY[:, :, None] * CHAINS
    return -(weight * np.log(np.maximum(probability, 1e-9))).sum(axis=(1, 2))


def draw(cumulative, random):
    """Index of the interval that each random number falls into."""
    return (cumulative > random[:, None]).argmax(axis=1)


def train(shares, steps, start, seed=0):
    """Weights after steps of Adam on a mixture of sources."""
    random = np.random.default_rng(seed)
    weights = [one.copy() for one in start]
    first, second = [0 * one for one in weights], [0 * one for one in weights]
    for step in range(1, steps + 1):
        source = random.choice(NUM_SOURCES, BATCH, p=shares)
        symbol = draw(FREQUENCY[source].cumsum(axis=1), random.random(BATCH))
        following = draw(CHAINS[source, symbol].cumsum(axis=1), random.random(BATCH))
        hidden = np.tanh(weights[0][symbol])
        error = probabilities([weights[0][symbol], weights[1]])
        error[np.arange(BATCH), following] -= 1
        error /= BATCH
        of_symbols = np.zeros_like(weights[0])
        np.add.at(of_symbols, symbol, (error @ weights[1].T) * (1 - hidden**2))
        for at, gradient in enumerate((of_symbols, hidden.T @ error)):
            first[at] = 0.9 * first[at] + 0.1 * gradient
            second[at] = 0.99 * second[at] + 0.01 * gradient**2
            scale = np.sqrt(second[at] / (1 - 0.99**step)) + 1e-8
            weights[at] = weights[at] - RATE * first[at] / (1 - 0.9**step) / scale
    return weights


def feature(kind, experts, source):
    """Known function of shares for the loss on one source."""
    if kind == "probabilities":
        probability = np.stack([probabilities(one) for one in experts])
        counts = np.maximum((200_000 * FREQUENCY[source][:, None] * CHAINS[source]).round().astype(int), 0)
        cells = np.flatnonzero(counts)
        drawn = np.random.default_rng(0).choice(cells, 2000, p=counts.ravel()[cells] / counts.sum())
        return MixedProbabilities(np.log(probability.reshape(NUM_SOURCES, -1)[:, drawn] + 1e-9))

    def merged(shares):
        mixed = [[np.tensordot(one, [e[at] for e in experts], 1) for at in (0, 1)] for one in shares]
        return np.array([losses(probabilities(weights))[source] for weights in mixed])

    return merged


def correlation(seen, values, unseen, truth, features):
    """Rank correlation of the predicted objective on unseen mixtures."""
    predicted = np.zeros(len(unseen))
    for source in range(NUM_SOURCES):
        encoding = Encoding()
        if features:
            known = features[source](seen)
            encoding = Encoding(
                feature=features[source], center=float(known.mean()), scale=float(known.std())
            )
        model = GaussianProcess().fit(encoding.of_shares(seen), values[:, source])
        predicted += model.predict(encoding.of_shares(unseen))[0]
    return rank_correlation(predicted, truth.mean(axis=1))


def measure(name, warm_steps, steps):
    """Print the figures of one setting."""
    start = train(np.full(NUM_SOURCES, 1 / NUM_SOURCES), warm_steps, INITIAL)
    shares = np.random.default_rng(1).dirichlet(np.full(NUM_SOURCES, 0.7), 260)
    values = np.array([losses(probabilities(train(one, steps, start))) for one in shares])
    experts = [train(one, steps, start) for one in np.eye(NUM_SOURCES)]
    corners = np.array([losses(probabilities(one)) for one in experts])
    features = {
        kind: [feature(kind, experts, source) for source in range(NUM_SOURCES)]
        for kind in ("probabilities", "weights")
    }
    for num_runs in NUM_RUNS:
        found = {"none": [], "probabilities": [], "weights": []}
        for subset in range(6):
            rows = np.random.default_rng(subset).choice(200, num_runs, replace=False)
            few = rows[: num_runs - NUM_SOURCES]
            with_experts = np.vstack([shares[few], np.eye(NUM_SOURCES)]), np.vstack([values[few], corners])
            unseen = shares[200:], values[200:]
            found["none"].append(correlation(shares[rows], values[rows], *unseen, None))
            for kind, known in features.items():
                found[kind].append(correlation(*with_experts, *unseen, known))
        line = ", ".join(f"{kind} {np.mean(each):.3f}" for kind, each in found.items())
        sys.stdout.write(f"{name}, {num_runs} runs: {line}\n")


if __name__ == "__main__":
    measure("from scratch", 0, 250)
    measure("from a checkpoint", 150, 150)
