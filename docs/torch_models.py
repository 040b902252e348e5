"""PyTorch's side of models.md: the presets of `rnnlm train`, written as the book writes them.

    pip install torch
    python torch_models.py timemachine.txt --preset gru --seed 0

Prints one JSON object with the perplexity of the last epoch. Text, minibatches, model, clipping and update are those of the
book's loop; only `--preset rnn-scratch` gives `torch.nn.RNN` the initial values of the book's own cell.
"""

import argparse
import collections
import json
import math
import random
import re

import torch
from torch import nn
from torch.nn import functional as F

PRESETS = {
    "rnn-scratch": dict(cell=nn.RNN, hidden_size=512, normal=True),
    "rnn": dict(cell=nn.RNN),
    "gru": dict(cell=nn.GRU),
    "lstm": dict(cell=nn.LSTM),
    "deep-lstm": dict(cell=nn.LSTM, num_layers=2, lr=2.0),
    "bi-lstm": dict(cell=nn.LSTM, num_layers=2, bidirectional=True),
}
BATCH_SIZE, NUM_STEPS, CLIP, MAX_TOKENS = 32, 35, 1.0, 10_000


def characters(path):
    """The first characters as ids, and the size of the vocabulary, which is that of the whole text."""
    with open(path, encoding="utf-8") as file:
        text = "".join(re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in file)
    kinds = [kind for kind, _ in collections.Counter(text).most_common()]
    index = {kind: number for number, kind in enumerate(kinds, start=1)}
    return torch.tensor([index[kind] for kind in text[:MAX_TOKENS]]), len(kinds) + 1


class RNNModel(nn.Module):
    """One-hot input, recurrent layers, linear output."""

    def __init__(self, rnn, vocab_size):
        super().__init__()
        self.rnn, self.vocab_size = rnn, vocab_size
        self.linear = nn.Linear(rnn.hidden_size * (2 if rnn.bidirectional else 1), vocab_size)

    def forward(self, inputs, state):
        output, state = self.rnn(F.one_hot(inputs, self.vocab_size).float(), state)
        return self.linear(output.reshape(-1, output.shape[-1])), state


def model(vocab_size, cell, hidden_size=256, num_layers=1, bidirectional=False, normal=False, lr=1.0):
    made = RNNModel(cell(vocab_size, hidden_size, num_layers, bidirectional=bidirectional), vocab_size)
    if normal:
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.01) if parameter.dim() > 1 else nn.init.zeros_(parameter)
    return made, torch.optim.SGD(made.parameters(), lr)


def minibatches(ids):
    """Sequential partitioning from a random offset."""
    offset = random.randint(0, NUM_STEPS)
    num_tokens = (len(ids) - offset - 1) // BATCH_SIZE * BATCH_SIZE
    inputs, targets = (ids[at:at + num_tokens].reshape(BATCH_SIZE, -1) for at in (offset, offset + 1))
    for at in range(0, inputs.shape[1] // NUM_STEPS * NUM_STEPS, NUM_STEPS):
        yield inputs[:, at:at + NUM_STEPS].T, targets[:, at:at + NUM_STEPS].T.reshape(-1)


def detached(state):
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def epoch(made, optimizer, ids):
    state, loss_sum, num_tokens = None, 0.0, 0
    for inputs, targets in minibatches(ids):
        logits, state = made(inputs, state)
        state = detached(state)
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(made.parameters(), CLIP)
        optimizer.step()
        loss_sum += loss.item() * len(targets)
        num_tokens += len(targets)
    return math.exp(loss_sum / num_tokens)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("text", help="timemachine.txt")
    arguments.add_argument("--preset", choices=PRESETS, required=True)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--epochs", type=int, default=500)
    arguments.add_argument("--threads", type=int, default=1)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    random.seed(arguments.seed)
    ids, vocab_size = characters(arguments.text)
    made, optimizer = model(vocab_size, **PRESETS[arguments.preset])
    perplexities = [epoch(made, optimizer, ids) for _ in range(arguments.epochs)]
    print(json.dumps({"preset": arguments.preset, "seed": arguments.seed, "epochs": arguments.epochs,
                      "perplexity": perplexities[-1], "torch": torch.__version__}))


if __name__ == "__main__":
    main()
