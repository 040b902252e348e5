#!/usr/bin/env python3
"""What `run.sh` measured, as a table: PyTorch's rows and rnnlm's, tokens a second, and the ratio that is claimed.

    python3 summary.py OUTPUT            # prints Markdown; reads OUTPUT/runs/*.json and OUTPUT/runs/*/metrics.jsonl

The ratio is against the better of `book` and `device`; `graph` and `device-fp32` stand beside it.
"""
import json
import pathlib
import statistics
import sys

# Epochs of a run in which the clocks come up, as run.sh tells torch_lm.py.
WARM_UP = 10


def rnnlm_run(folder):
    """Median and best of a run's epochs, from the record that `rnnlm train` leaves."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    rates = [epoch["tokens_per_second"] for epoch in epochs[WARM_UP:]]
    return {"median": statistics.median(rates), "best": max(rates), "perplexity": epochs[-1]["perplexity"]}


def main():
    output = pathlib.Path(sys.argv[1])
    runs = {}
    for path in sorted((output / "runs").iterdir()):
        # MODEL.ROW.NUMBER, with .json behind a run of PyTorch's
        model, row, _ = path.name.removesuffix(".json").split(".")
        run = rnnlm_run(path) if path.is_dir() else json.loads(path.read_text(encoding="utf-8"))
        runs.setdefault(model, {}).setdefault(row, []).append(run)
    for model, rows in runs.items():
        peers = [statistics.median(run["median"] for run in rows[row]) for row in ("book", "device") if row in rows]
        print(f"\n### {model}\n\n| row | median tokens/s | best | last perplexity | against the better of book, device |")
        print("|---|---:|---:|---:|---:|")
        for row, repeats in rows.items():
            median = statistics.median(run["median"] for run in repeats)
            best, perplexity = max(run["best"] for run in repeats), repeats[-1]["perplexity"]
            ratio = f"{median / max(peers):.2f} ×" if peers else "-"
            print(f"| {row} | {median:,.0f} | {best:,.0f} | {perplexity:.3f} | {ratio} |")


if __name__ == "__main__":
    main()
