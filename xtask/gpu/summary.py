#!/usr/bin/env python3
"""What `run.sh` found, as a section for docs/benchmarks.md: the machine, the checks, PyTorch's rows and rnnlm's in tokens a
second, and the ratio that is claimed.

    python3 summary.py OUTPUT WARM_UP     # prints Markdown; WARM_UP epochs of a run of rnnlm are not counted

The ratio is against the better of `book` and `device`; `graph` and `device-fp32` stand beside it.
"""
import json
import pathlib
import re
import statistics
import sys


def rnnlm_run(folder, warm_up):
    """Median and best of a run's epochs, from the record that `rnnlm train` leaves."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    rates = [epoch["tokens_per_second"] for epoch in epochs[warm_up:]]
    return {"median": statistics.median(rates), "best": max(rates), "perplexity": epochs[-1]["perplexity"]}


def found(pattern, text):
    """What the first group of a pattern has matched, or a dash."""
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1).strip() if match else "-"


def read(path):
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def machine(output):
    """A heading with the GPU's name, and the machine in a line."""
    text = read(output / "environment.txt")
    gpu, cpu = found(r"^cuda:0 +(.*)", text), found(r"^model name\s*: (.*)", text)
    torch, rnnlm = found(r"^torch (\S+)", text), found(r"^rnnlm (\S+)", text)
    print(f"## On {gpu.split(',')[0]}\n\n{gpu}; {cpu}; PyTorch {torch}, rnnlm {rnnlm}.\n")


def checks(output):
    """The totals of the table of checks, and what each tool of compute-sanitizer has counted."""
    totals = found(r"^(\d+ ok, \d+ failed, \d+ not checked)", read(output / "verify.txt"))
    print(f"- `verify --backend cuda --require cuda`: {totals}")
    reports = sorted(output.glob("sanitizer-*.txt"))
    for path in reports:
        tool, rows = path.stem.removeprefix("sanitizer-").split("-", 1)
        print(f"- compute-sanitizer, {tool}, rows {rows}: {found(r'SUMMARY: (.*)', read(path))}")
    if not reports:
        print("- compute-sanitizer: not run")


def trainings(output, warm_up):
    """A table for each model."""
    models = {}
    for path in sorted((output / "runs").iterdir()):
        # MODEL.ROW.NUMBER, with .json behind a run of PyTorch's
        model, row, _ = path.name.removesuffix(".json").split(".")
        run = rnnlm_run(path, warm_up) if path.is_dir() else json.loads(path.read_text(encoding="utf-8"))
        models.setdefault(model, {}).setdefault(row, []).append(run)
    for model, rows in models.items():
        peers = [statistics.median(run["median"] for run in rows[row]) for row in ("book", "device") if row in rows]
        print(f"\n### {model}\n\n| row | median tokens/s | best | last perplexity | against the better of book, device |")
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
    trainings(output, warm_up)


if __name__ == "__main__":
    main()
