"""The presets of `rnnlm train` in PyTorch, for the comparison in models.md. The code follows the book's Chinese edition.

    pip install torch
    python torch_models.py timemachine.txt --preset gru --seed 0

Prints one JSON object with the perplexity of the last epoch. Text, minibatches, model, clipping and update are those of the
book's loop. `--preset rnn-scratch` trains `torch.nn.RNN` with the initial values of the book's own cell.
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
    """The ids of the first characters, and the vocabulary size of the whole text."""
    with open(path, encoding="utf-8") as file:
        text = "".join(re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in file)
    tokens = [token for token, _ in collections.Counter(text).most_common()]
    ids = {token: id for id, token in enumerate(tokens, start=1)}  # 0 is <unk>
    return torch.tensor([ids[token] for token in text[:MAX_TOKENS]]), len(tokens) + 1


class RNNModel(nn.Module):
    """One-hot input, recurrent layers, linear output."""

    def __init__(self, rnn, vocab_size):
        super().__init__()
        self.rnn, self.vocab_size = rnn, vocab_size
        self.linear = nn.Linear(rnn.hidden_size * (2 if rnn.bidirectional else 1), vocab_size)

    def forward(self, inputs, state):
        output, state = self.rnn(F.one_hot(inputs, self.vocab_size).float(), state)
        return self.linear(output.reshape(-1, output.shape[-1])), state


def build(vocab_size, cell, hidden_size=256, num_layers=1, bidirectional=False, normal=False, lr=1.0):
    """A model of a preset, and its optimizer."""
    model = RNNModel(cell(vocab_size, hidden_size, num_layers, bidirectional=bidirectional), vocab_size)
    if normal:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.01) if parameter.dim() > 1 else nn.init.zeros_(parameter)
    return model, torch.optim.SGD(model.parameters(), lr)


def minibatches(ids):
    """Sequential partitioning from a random offset."""
    offset = random.randint(0, NUM_STEPS)
    num_tokens = (len(ids) - offset - 1) // BATCH_SIZE * BATCH_SIZE
    inputs = ids[offset:offset + num_tokens].reshape(BATCH_SIZE, -1)
    targets = ids[offset + 1:offset + 1 + num_tokens].reshape(BATCH_SIZE, -1)
    for start in range(0, inputs.shape[1] // NUM_STEPS * NUM_STEPS, NUM_STEPS):
        yield inputs[:, start:start + NUM_STEPS].T, targets[:, start:start + NUM_STEPS].T.reshape(-1)


def detached(state):
    """The state as a constant; an LSTM has a pair of states."""
    return tuple(tensor.detach() for tensor in state) if isinstance(state, tuple) else state.detach()


def epoch(model, optimizer, ids):
    """Trains for one epoch; the perplexity of its minibatches, each scored before its update."""
    state, loss_sum, num_tokens = None, 0.0, 0
    for inputs, targets in minibatches(ids):
        logits, state = model(inputs, state)
        state = detached(state)
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        loss_sum += loss.item() * len(targets)
        num_tokens += len(targets)
    return math.exp(loss_sum / num_tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="path of timemachine.txt")
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    ids, vocab_size = characters(options.text)
    model, optimizer = build(vocab_size, **PRESETS[options.preset])
    perplexities = [epoch(model, optimizer, ids) for _ in range(options.epochs)]
    print(json.dumps({"preset": options.preset, "seed": options.seed, "epochs": options.epochs,
                      "perplexity": perplexities[-1], "torch": torch.__version__}))


if __name__ == "__main__":
    main()
