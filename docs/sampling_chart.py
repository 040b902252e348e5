"""Draws sampling.svg: which tokens top-k, top-p and min-p keep of a distribution. Reads the JSON of one generated token.

    rnnlm generate RUN --prefix TEXT --num-tokens 1 --format json --logprobs 1000 | python3 docs/sampling_chart.py

Needs only the standard library.
"""

import html
import json
import math
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
TOKENS = 16
KEPT, REMOVED = "#1f6fb2", "#cbd5e1"
LEFT, BAR, GAP, HEIGHT, PANEL, TOP = 52, 26, 6, 110, 160, 54


def top_k(probabilities, k):
    return min(k, len(probabilities))


def top_p(probabilities, p):
    total = 0.0
    for count, probability in enumerate(probabilities, start=1):
        total += probability
        if total >= p:
            return count
    return len(probabilities)


def min_p(probabilities, fraction):
    return sum(probability >= fraction * probabilities[0] for probability in probabilities)


FILTERS = [("--top-k 5", top_k, 5), ("--top-p 0.8", top_p, 0.8), ("--min-p 0.1", min_p, 0.1)]


def text(x, y, content, anchor="middle", color="#333"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{html.escape(content)}</text>'


def panel(top, title, tokens, probabilities, kept):
    """One row of bars: the model's probabilities, filled where a token is kept; outlined, those that are drawn from."""
    total = sum(probabilities[:kept])
    scale = HEIGHT / max(probabilities[0] / total, 0.01)
    bottom = top + HEIGHT
    summary = f"{title} keeps {kept} of {len(probabilities)} tokens, with {100 * total:.0f} % of the probability"
    parts = [text(LEFT, top - 8, summary, "start")]
    for index, (token, probability) in enumerate(zip(tokens, probabilities[:TOKENS])):
        x = LEFT + index * (BAR + GAP)
        height, color = scale * probability, KEPT if index < kept else REMOVED
        if index < kept:
            drawn = height / total
            parts.append(f'<rect x="{x}" y="{bottom - drawn:.1f}" width="{BAR}" height="{drawn:.1f}" fill="none" stroke="{KEPT}"/>')
        parts.append(f'<rect x="{x}" y="{bottom - height:.1f}" width="{BAR}" height="{height:.1f}" fill="{color}"/>')
        parts.append(text(x + BAR / 2, bottom + 14, {" ": "␣", "\n": "↵"}.get(token, token)))
        parts.append(text(x + BAR / 2, bottom + 27, f"{100 * probability:.1f}", color="#777"))
    parts.append(f'<line x1="{LEFT}" y1="{bottom}" x2="{LEFT + TOKENS * (BAR + GAP)}" y2="{bottom}" stroke="#999"/>')
    return parts


def draw(sample):
    alternatives = sample["alternatives"][0]
    tokens = [alternative["token"] for alternative in alternatives]
    probabilities = [math.exp(alternative["log_probability"]) for alternative in alternatives]
    width, height = LEFT + TOKENS * (BAR + GAP) + 20, TOP + len(FILTERS) * (PANEL + 10)
    heading = f"Probabilities in % of the token after \u201c{sample['prefix']}\u201d; outlined: after the filter"
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        "<title>How top-k, top-p and min-p truncate a distribution</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        text(LEFT, 20, heading, "start"),
    ]
    for index, (title, count, setting) in enumerate(FILTERS):
        svg += panel(TOP + index * (PANEL + 10), title, tokens, probabilities, count(probabilities, setting))
    return "\n".join([*svg, "</svg>", ""])


if __name__ == "__main__":
    (FOLDER / "sampling.svg").write_text(draw(json.load(sys.stdin)), encoding="utf-8")
