#!/usr/bin/env python3
"""The book's training, decoding and scoring in PyTorch, to compare rnnlm with on the same CPU or GPU. Prints one JSON object.

    python3 torch_lm.py --text timemachine.txt --seconds 3
    python3 torch_lm.py --text timemachine.txt --cell lstm --mode generate
    python3 torch_lm.py --text timemachine.txt --device cuda --row device --epochs 60

Rows (a fair comparison on a GPU lists all of them):
    book         minibatches are created on the host and copied one by one, as in the book's loop
    device       the text is on the device; nothing is copied to the host before the end of an epoch
    device-fp32  like `device`, without TF32, as rnnlm computes
    graph        like `device`, with a whole step captured in a CUDA graph

Tokens per second are N*T*minibatches over the seconds of an epoch, from before the first minibatch is created until the
device has finished. Warm-up epochs are excluded. Decoding is greedy, one token at a time, from the zero state; mode
generate-batch decodes as many sequences at a time as the batch size.
"""
import argparse
import bisect
import collections
import itertools
import json
import math
import random
import re
import statistics
import time

import torch
from torch import nn

class Minimal(nn.Module):
    """minGRU or minLSTM (arXiv 2410.01201): a linear layer for all steps, then a loop over the elementwise steps."""

    def __init__(self, num_gates, input_size, hidden_size, num_layers):
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(nn.Linear(size, num_gates * hidden_size) for size in sizes)
        self.num_gates = num_gates

    def forward(self, x, state):
        finals = []
        for linear, h in zip(self.layers, state):
            *gates, new = linear(x).chunk(self.num_gates, dim=2)
            gates = [gate.sigmoid() for gate in gates]
            # the part of the state that is kept
            keep = 1 - gates[0] if len(gates) == 1 else gates[0] / (gates[0] + gates[1])
            added, states = (1 - keep) * new, []
            for kept, value in zip(keep.unbind(), added.unbind()):
                h = kept * h + value
                states.append(h)
            x = torch.stack(states)
            finals.append(h)
        return x, torch.stack(finals)


def min_gru(*sizes):
    return Minimal(2, *sizes)


def min_lstm(*sizes):
    return Minimal(3, *sizes)


CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM, "mingru": min_gru, "minlstm": min_lstm}
ROWS = ["book", "device", "device-fp32", "graph"]


class LanguageModel(nn.Module):
    """One-hot or embedded tokens, recurrent layers, a linear layer or an adaptive softmax: the book's RNNModel."""

    def __init__(self, options, vocab_size):
        super().__init__()
        size = options.embedding_size
        self.embedding = nn.Embedding(vocab_size, size, sparse=bool(options.sparse)) if size else None
        self.rnn = CELLS[options.cell](size or vocab_size, options.hidden_size, options.num_layers)
        cutoffs = [int(cutoff) for cutoff in options.cutoffs.split(",") if cutoff]
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(options.hidden_size, vocab_size, cutoffs) if cutoffs else None
        self.linear = None if cutoffs else nn.Linear(options.hidden_size, vocab_size)
        self.vocab_size = vocab_size

    def output(self, ids, state):
        """The output of the recurrent layers, `[T * N, H]`, and their final state."""
        features = self.embedding(ids) if self.embedding else nn.functional.one_hot(ids, self.vocab_size).float()
        output, state = self.rnn(features, state)
        return output.flatten(0, 1), state

    def forward(self, ids, state):
        output, state = self.output(ids, state)
        return (self.softmax.log_prob(output) if self.softmax else self.linear(output)), state

    def loss(self, ids, state, targets):
        """The mean loss of the targets, and the final state."""
        output, state = self.output(ids, state)
        if self.softmax:
            return self.softmax(output, targets).loss, state
        return nn.functional.cross_entropy(self.linear(output), targets), state


def splitmix64(seed):
    """The generator of rnnlm_model::SplitMix64."""
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


def zipf_ids(vocab_size, count):
    """Ids with Zipf's distribution, as tests/src/bin/bench/sizes.rs draws them."""
    cumulative = list(itertools.accumulate(1 / (k + 1) for k in range(vocab_size)))
    words = itertools.islice(splitmix64(0), count)
    return [bisect.bisect_right(cumulative, (word >> 11) / 2**53 * cumulative[-1]) for word in words]


def read_tokens(options):
    """Ids of the book's tokens: letters only, lower case, sorted by frequency after `<unk>`."""
    if options.zipf:
        return zipf_ids(options.vocab_size, options.max_tokens), options.vocab_size
    with open(options.text, encoding="utf-8") as file:
        lines = [re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in file]
    tokens = [token for line in lines for token in (line if options.token == "char" else line.split())]
    counts = sorted(collections.Counter(tokens).items(), key=lambda entry: (-entry[1], entry[0]))
    ids = {token: 1 + index for index, (token, _) in enumerate(counts)}
    return [ids[token] for token in tokens[: options.max_tokens or None]], max(1 + len(ids), options.vocab_size)


def minibatches(ids, batch_size, num_steps):
    """The `[T, N]` inputs and targets of an epoch, in sequential partition from a random offset."""
    offset = random.randint(0, num_steps)
    length = (len(ids) - offset - 1) // batch_size * batch_size
    inputs = ids[offset : offset + length].reshape(batch_size, -1)
    targets = ids[offset + 1 : offset + 1 + length].reshape(batch_size, -1)
    for start in range(0, inputs.shape[1] // num_steps * num_steps, num_steps):
        steps = slice(start, start + num_steps)
        yield inputs[:, steps].T, targets[:, steps].T.reshape(-1)


def zero_state(options, device, batch_size):
    shape = (options.num_layers, batch_size, options.hidden_size)
    hidden = torch.zeros(shape, device=device)
    return (hidden, torch.zeros(shape, device=device)) if options.cell == "lstm" else hidden


def parts(state):
    return list(state) if isinstance(state, tuple) else [state]


def clip_gradients(parameters, limit):
    """`clip_grad_norm_`, which does not accept sparse gradients."""
    if not any(parameter.grad.is_sparse for parameter in parameters):
        nn.utils.clip_grad_norm_(parameters, limit)
        return
    for parameter in parameters:
        parameter.grad = parameter.grad.coalesce() if parameter.grad.is_sparse else parameter.grad
    values = [parameter.grad.values() if parameter.grad.is_sparse else parameter.grad for parameter in parameters]
    norm = torch.stack(torch._foreach_norm(values)).norm()
    torch._foreach_mul_(values, (limit / (norm + 1e-6)).clamp(max=1.0))


class EagerStep:
    """A training step, operation by operation."""

    def __init__(self, options, model, device):
        self.options, self.model, self.device = options, model, device
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.SGD(model.parameters(), options.lr)
        self.begin()

    def begin(self):
        self.state = zero_state(self.options, self.device, self.options.batch_size)

    def __call__(self, inputs, targets):
        state = parts(self.state)
        state = tuple(part.detach() for part in state) if len(state) > 1 else state[0].detach()
        loss, self.state = self.model.loss(inputs.to(self.device), state, targets.to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        clip_gradients(self.parameters, self.options.clip)
        self.optimizer.step()
        return loss.detach()


class GraphStep:
    """A training step as one CUDA graph, with state, gradients, clipping and update in fixed memory."""

    def __init__(self, options, model, device):
        self.options, self.model = options, model
        self.parameters = list(model.parameters())
        self.criterion = nn.CrossEntropyLoss()
        self.inputs = torch.zeros(options.num_steps, options.batch_size, dtype=torch.long, device=device)
        self.targets = torch.zeros(options.num_steps * options.batch_size, dtype=torch.long, device=device)
        self.state = zero_state(options, device, options.batch_size)
        self.loss = torch.zeros((), device=device)
        start = [parameter.detach().clone() for parameter in self.parameters]
        warm_up = torch.cuda.Stream()
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(warm_up)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, start)

    def step(self):
        logits, state = self.model(self.inputs, self.state)
        loss = self.criterion(logits, self.targets)
        gradients = torch.autograd.grad(loss, self.parameters)
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        factor = (self.options.clip / (norm + 1e-6)).clamp(max=1.0) * -self.options.lr
        with torch.no_grad():
            torch._foreach_add_(self.parameters, [gradient * factor for gradient in gradients])
            for old, new in zip(parts(self.state), parts(state)):
                old.copy_(new)
            self.loss.copy_(loss)

    def begin(self):
        for part in parts(self.state):
            part.zero_()

    def __call__(self, inputs, targets):
        self.inputs.copy_(inputs)
        self.targets.copy_(targets)
        self.graph.replay()
        return self.loss


def train(options, model, ids, device):
    """Seconds and perplexity of each epoch, and tokens per epoch; at least the requested epochs and seconds."""
    ids = torch.tensor(ids, device="cpu" if options.row == "book" else device)
    step = (GraphStep if options.row == "graph" else EagerStep)(options, model, device)
    seconds, perplexities, tokens = [], [], 0
    until = time.perf_counter() + options.seconds
    while len(seconds) < options.epochs or time.perf_counter() < until:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        step.begin()
        total, tokens = torch.zeros((), device=device), 0
        for inputs, targets in minibatches(ids, options.batch_size, options.num_steps):
            total += step(inputs, targets) * targets.numel()
            tokens += targets.numel()
        mean = total.item() / tokens
        seconds.append(time.perf_counter() - start)
        perplexities.append(math.exp(mean))
    return seconds, perplexities, tokens


@torch.no_grad()
def generate(options, model, device):
    """Seconds of each round of decoding, and tokens per round: greedy for one sequence, sampled for a batch."""
    batched = options.mode == "generate-batch"
    rows = options.batch_size if batched else 1
    state, token = zero_state(options, device, rows), torch.zeros(1, rows, dtype=torch.long, device=device)
    seconds, ids = [], []
    until = time.perf_counter() + options.seconds
    while len(seconds) < options.epochs or time.perf_counter() < until:
        start = time.perf_counter()
        for _ in range(options.num_tokens):
            logits, state = model(token, state)
            token = torch.multinomial(logits.softmax(dim=1), 1) if batched else logits.argmax(dim=1)
            token = token.reshape(1, rows)
            ids.append(token.tolist())
        seconds.append(time.perf_counter() - start)
    return seconds, options.num_tokens * rows


def documents(ids, count):
    """The documents of the row `score`, as tests/src/bin/bench/measure.rs cuts them: 20 to 200 tokens of the text."""
    lengths = [20 + index * 7919 % 181 for index in range(count)]
    starts = [index * 104_729 % (len(ids) - 200) for index in range(count)]
    return [torch.tensor(ids[start : start + length]) for start, length in zip(starts, lengths)]


@torch.inference_mode()
def score(options, model, ids):
    """Seconds of each round of scoring all documents in padded batches sorted by length, and tokens per round."""
    texts, context = documents(ids, options.num_documents), 0
    seconds = []
    until = time.perf_counter() + options.seconds
    while len(seconds) < options.epochs or time.perf_counter() < until:
        start = time.perf_counter()
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        scores = torch.zeros(len(texts))
        for first in range(0, len(order), options.batch_size):
            batch = order[first : first + options.batch_size]
            targets = nn.utils.rnn.pad_sequence([texts[index] for index in batch], padding_value=-1)
            inputs = torch.cat([torch.full_like(targets[:1], context), targets[:-1]]).clamp(min=0)
            logits, _ = model(inputs, zero_state(options, torch.device("cpu"), len(batch)))
            losses = nn.functional.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="none")
            scores[batch] = -losses.reshape(targets.shape).sum(0)
        seconds.append(time.perf_counter() - start)
    return seconds, sum(len(text) for text in texts)


def peak_memory():
    """The peak memory of this process in bytes, or None if the system does not report it."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, help="a plain text file")
    parser.add_argument("--mode", choices=["train", "generate", "generate-batch", "score"], default="train")
    parser.add_argument("--row", choices=ROWS, default="book")
    parser.add_argument("--token", choices=["char", "word"], default="char")
    parser.add_argument("--cell", choices=CELLS, default="rnn")
    for name, value in [("hidden-size", 256), ("num-layers", 1), ("batch-size", 32), ("num-steps", 35)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--embedding-size", type=int, default=0, help="0 for one-hot input")
    parser.add_argument("--vocab-size", type=int, default=0, help="minimum vocabulary size, for texts with fewer distinct tokens")
    parser.add_argument("--cutoffs", default="", help="cutoffs of an adaptive softmax, such as 2000,10000; none by default")
    parser.add_argument("--zipf", type=int, default=0, help="1 draws ids from Zipf's distribution instead of reading the text")
    parser.add_argument("--sparse", type=int, default=0, help="1 for sparse gradients of the embedding")
    parser.add_argument("--max-tokens", type=int, default=10_000, help="0 for the whole text")
    parser.add_argument("--num-tokens", type=int, default=1000, help="tokens per round of decoding")
    parser.add_argument("--num-documents", type=int, default=1000, help="documents per round of scoring")
    parser.add_argument("--epochs", type=int, default=10, help="minimum number of epochs or rounds")
    parser.add_argument("--seconds", type=float, default=0, help="minimum time")
    parser.add_argument("--warm-up", type=int, default=2, help="epochs or rounds that are excluded")
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for PyTorch's default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    random.seed(0)
    if options.row == "device-fp32":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device(options.device)
    ids, vocab_size = read_tokens(options)
    model = LanguageModel(options, vocab_size).to(device)
    if options.mode == "train":
        seconds, perplexities, tokens = train(options, model, ids, device)
    elif options.mode == "score":
        (seconds, tokens), perplexities = score(options, model, ids), [None]
    else:
        (seconds, tokens), perplexities = generate(options, model, device), [None]
    rates = [tokens / second for second in seconds[options.warm_up :]]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    result = {"who": f"PyTorch {torch.__version__}", "row": options.row, "cell": options.cell, "device": name}
    result |= {"hidden_size": options.hidden_size, "num_layers": options.num_layers, "batch_size": options.batch_size}
    result |= {"median": statistics.median(rates), "best": max(rates), "perplexity": perplexities[-1]}
    result |= {"threads": torch.get_num_threads(), "peak_memory": peak_memory()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
