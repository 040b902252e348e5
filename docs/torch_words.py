"""The word model of models.md in PyTorch: an embedding, two LSTM layers with dropout, AdamW, a cosine schedule, early stopping.

    pip install torch
    python torch_words.py timemachine.txt --seed 0

Prints one JSON object: the best perplexity on the validation set, the last tenth of the text read as one stream from the zero
state, and its epoch. Text, model, minibatches, clipping and schedule are those of the command in models.md.
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

BATCH_SIZE, NUM_STEPS, CLIP = 32, 35, 1.0
EMBEDDING, HIDDEN, LAYERS, DROPOUT = 128, 256, 2, 0.5
LR, EPOCHS, PATIENCE, VAL_FRACTION = 0.003, 40, 5, 0.1


def words(path):
    """The ids of all words, where the most frequent word has the smallest id, and the vocabulary size."""
    with open(path, encoding="utf-8") as file:
        text = [word for line in file for word in re.sub("[^A-Za-z]+", " ", line).strip().lower().split()]
    ids = {word: id for id, (word, _) in enumerate(collections.Counter(text).most_common(), start=1)}  # 0 is <unk>
    return torch.tensor([ids[word] for word in text]), len(ids) + 1


class Model(nn.Module):
    """Embedding, LSTM layers, linear output."""

    def __init__(self, vocab_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING)
        self.rnn = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, dropout=DROPOUT)
        self.linear = nn.Linear(HIDDEN, vocab_size)

    def forward(self, ids, state=None):
        output, state = self.rnn(self.embedding(ids), state)
        return self.linear(output.reshape(-1, HIDDEN)), state


def minibatches(ids):
    """Sequential partitioning from a random offset."""
    offset = random.randint(0, NUM_STEPS - 1)
    length = (len(ids) - offset - 1) // BATCH_SIZE * BATCH_SIZE
    inputs = ids[offset:offset + length].reshape(BATCH_SIZE, -1)
    targets = ids[offset + 1:offset + 1 + length].reshape(BATCH_SIZE, -1)
    for start in range(0, inputs.shape[1] // NUM_STEPS * NUM_STEPS, NUM_STEPS):
        yield inputs[:, start:start + NUM_STEPS].T, targets[:, start:start + NUM_STEPS].T.reshape(-1)


@torch.no_grad()
def perplexity(model, ids):
    """The perplexity of a text that is read as one stream from the zero state."""
    model.eval()
    logits, _ = model(ids[:-1].reshape(-1, 1))
    model.train()
    return math.exp(F.cross_entropy(logits, ids[1:]).item())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="path of timemachine.txt")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    ids, vocab_size = words(options.text)
    num_trained = len(ids) - round(len(ids) * VAL_FRACTION)
    model = Model(vocab_size)
    optimizer = torch.optim.AdamW(model.parameters(), LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    best, best_epoch = math.inf, 0
    for epoch in range(1, EPOCHS + 1):
        state = None
        for inputs, targets in minibatches(ids[:num_trained]):
            logits, state = model(inputs, state)
            state = tuple(tensor.detach() for tensor in state)
            optimizer.zero_grad()
            F.cross_entropy(logits, targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
        schedule.step()
        score = perplexity(model, ids[num_trained:])
        if score < best:
            best, best_epoch = score, epoch
        if epoch - best_epoch >= PATIENCE:
            break
    print(json.dumps({"seed": options.seed, "best": best, "best_epoch": best_epoch, "epochs": epoch,
                      "torch": torch.__version__}))


if __name__ == "__main__":
    main()
