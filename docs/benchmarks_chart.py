"""Draws benchmarks.svg from the CPU tables in benchmarks.md: the ratio of each row, with its smallest and largest value.

    python3 docs/benchmarks_chart.py

Needs only the standard library.
"""

import math
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent
COLORS = ["#1f6fb2", "#d97706"]
LEFT, WIDTH, BAR, ROW, TOP = 170, 520, 12, 34, 58
TICKS = [1, 2, 5, 10, 20, 50]


def tables():
    """The tables with a `min` column: heading, and (row, ratio, min, max) of each line."""
    found, heading, rows = [], "", None
    for line in (FOLDER / "benchmarks.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading, rows = line.removeprefix("## "), None
        elif line.startswith("| row |") and line.endswith("| min | max |"):
            rows = []
            found.append((heading, rows))
        elif rows is not None and line.startswith("| `"):
            name, _, _, *ratios = (cell.strip() for cell in line.strip("|").split("|"))
            rows.append((name.split("`")[1], *map(float, ratios)))
    return found


def x(ratio):
    """The horizontal position of a ratio, on a logarithmic axis."""
    return LEFT + WIDTH * math.log(ratio / 0.9) / math.log(60 / 0.9)


def text(x, y, content, anchor="start", color="#333"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{content}</text>'


def line(x1, y1, x2, y2, color, width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'


def draw(tables):
    names = [name for name, *_ in tables[0][1]]
    width, bottom = LEFT + WIDTH + 60, TOP + ROW * len(names)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 46}" font-family="sans-serif" font-size="12">',
        "<title>Throughput relative to PyTorch on the same CPU</title>",
        f'<rect width="{width}" height="{bottom + 46}" fill="#fff"/>',
    ]
    for index, (heading, _) in enumerate(tables):
        y = 12 + 18 * index
        svg.append(f'<rect x="{LEFT}" y="{y}" width="{BAR}" height="{BAR}" fill="{COLORS[index]}"/>')
        svg.append(text(LEFT + BAR + 6, y + 10, heading))
    for tick in TICKS:
        svg.append(line(x(tick), TOP - 6, x(tick), bottom, "#999" if tick == 1 else "#ddd"))
        svg.append(text(x(tick), bottom + 16, f"{tick} ×", "middle"))
    svg.append(text(LEFT + WIDTH / 2, bottom + 36, "throughput relative to PyTorch (logarithmic), and the range of all runs", "middle"))
    for row, name in enumerate(names):
        svg.append(text(LEFT - 8, TOP + ROW * row + BAR + 4, name, "end"))
        for index, (_, rows) in enumerate(tables):
            measured = next((values for other, *values in rows if other == name), None)
            if measured is None:
                continue
            ratio, low, high = measured
            y = TOP + ROW * row + (BAR + 1) * index
            svg.append(f'<rect x="{x(1):.1f}" y="{y}" width="{x(ratio) - x(1):.1f}" height="{BAR}" fill="{COLORS[index]}"/>')
            svg.append(line(x(low), y + BAR / 2, x(high), y + BAR / 2, "#111", 2))
            svg.append(text(x(max(high, ratio)) + 6, y + BAR - 2, f"{ratio:.2f}"))
    return "\n".join([*svg, "</svg>"]) + "\n"


if __name__ == "__main__":
    (FOLDER / "benchmarks.svg").write_text(draw(tables()), encoding="utf-8")
