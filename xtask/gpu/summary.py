#!/usr/bin/env python3
"""Prints the results of `run.sh` as a section for docs/benchmarks.md: the machine, the checks, and the training speed of
PyTorch and of rnnlm in tokens per second.

    python3 summary.py OUTPUT WARM_UP     # prints Markdown; the first WARM_UP epochs of each rnnlm run are excluded

Ratios are to the faster of PyTorch's rows `book` and `device`.
"""
import json
import pathlib
import re
import statistics
import sys


def rnnlm_run(folder, warm_up):
    """The median and the best epoch of a run, from its metrics.jsonl."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    # lines within an epoch carry its minibatch
    epochs = [line for line in map(json.loads, lines) if "minibatch" not in line]
    rates = [epoch["tokens_per_second"] for epoch in epochs[warm_up:]]
    return {"median": statistics.median(rates), "best": max(rates), "perplexity": epochs[-1]["perplexity"]}


def first_group(pattern, text):
    """The first group of the pattern's first match, or a dash."""
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1).strip() if match else "-"


def read(path):
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def machine(output):
    """Prints a heading with the GPU's name and a description of the machine."""
    text = read(output / "environment.txt")
    gpu, cpu = first_group(r"^cuda:0 +(.*)", text), first_group(r"^model name\s*: (.*)", text)
    torch, rnnlm = first_group(r"^torch (\S+)", text), first_group(r"^rnnlm (\S+)", text)
    print(f"## On {gpu.split(',')[0]}\n\n{gpu}; {cpu}; PyTorch {torch}, rnnlm {rnnlm}.\n")


def checks(output):
    """Prints the totals of the table of checks and the summaries of compute-sanitizer."""
    totals = first_group(r"^(\d+ ok, \d+ failed, \d+ not checked)", read(output / "verify.txt"))
    print(f"- `verify --backend cuda --require cuda`: {totals}")
    reports = sorted(output.glob("sanitizer-*.txt"))
    for path in reports:
        tool, rows = path.stem.removeprefix("sanitizer-").split("-", 1)
        print(f"- compute-sanitizer, {tool}, rows {rows}: {first_group(r'SUMMARY: (.*)', read(path))}")
    if not reports:
        print("- compute-sanitizer: not run")


def training_runs(output, warm_up):
    """Prints a table for each model."""
    models = {}
    for path in sorted((output / "runs").iterdir()):
        # rnnlm: the folder MODEL.rnnlm.NUMBER; PyTorch: the file MODEL.ROW.NUMBER.json
        model, row, _ = path.name.removesuffix(".json").split(".")
        run = rnnlm_run(path, warm_up) if path.is_dir() else json.loads(path.read_text(encoding="utf-8"))
        models.setdefault(model, {}).setdefault(row, []).append(run)
    for model, rows in models.items():
        peers = [statistics.median(run["median"] for run in rows[row]) for row in ("book", "device") if row in rows]
        print(f"\n### {model}\n")
        print("| row | median tokens/s | best | final perplexity | ratio to the faster of book and device |")
        print("|---|---:|---:|---:|---:|")
        for row, repeats in rows.items():
            median = statistics.median(run["median"] for run in repeats)
            best, perplexity = max(run["best"] for run in repeats), repeats[-1]["perplexity"]
            ratio = f"{median / max(peers):.2f} ×" if peers else "-"
            print(f"| {row} | {median:,.0f} | {best:,.0f} | {perplexity:.3f} | {ratio} |")


def main():
    output, warm_up = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    machine(output)
    checks(output)
    training_runs(output, warm_up)


if __name__ == "__main__":
    main()
