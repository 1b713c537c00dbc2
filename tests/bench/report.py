"""A row of the bench, the table, the JSON file and the plot."""

import json
import math
import statistics
from html import escape

OPS = {"<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b}


class Row:
    """values: {server: [one for each round]}. The target is `subject` OP limit × the best of `against` in the same round, or, without
    `against`, OP limit alone. better: "more" or "less"."""

    def __init__(self, label, unit, better, target=None, against=(), subject="entrepot", note=""):
        self.label, self.unit, self.better, self.against, self.subject, self.note = label, unit, better, tuple(against), subject, note
        self.op, self.limit = target or (None, None)
        self.values = {}

    def add(self, server, value):
        self.values.setdefault(server, []).append(value)

    def peers(self):
        return [s for s in self.values if s != self.subject]

    def best(self):
        """Of the peers that the target names, the best in each round."""
        choose = max if self.better == "more" else min
        lists = [self.values[p] for p in self.against if p in self.values]
        return [choose(values) for values in zip(*lists)]

    def ratios(self, peer=None):
        """Round by round; peer None: against the best."""
        other = self.values.get(peer, []) if peer else self.best()
        return [a / b for a, b in zip(self.values.get(self.subject, []), other) if b]

    def judged(self):
        """What the target is about: ratios, or values."""
        return self.ratios() if self.against else self.values.get(self.subject, [])

    def reached(self):
        judged = self.judged()
        return None if not self.op or not judged else OPS[self.op](statistics.median(judged), self.limit)


def number(x):
    if x == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(x))))
    return f"{x:,.{digits}f}"


def spread(values):
    if not values:
        return "-"
    return f"{min(values):.2f}–{statistics.median(values):.2f}–{max(values):.2f}"


def verdict(row):
    if not row.op:
        return ""
    reached = row.reached()
    what = f"{row.op} {row.limit:g}" + (" ×" if row.against else f" {row.unit}")
    return f"{what}  {'reached' if reached else 'not measured' if reached is None else 'MISSED'}"


def table(rows):
    lines = []
    for row in rows:
        own = row.values.get(row.subject)
        lines.append(f"{row.label} [{row.unit}, {'more' if row.better == 'more' else 'less'} is better]   {verdict(row)}")
        if own:
            lines.append(f"    {row.subject:<22}{number(statistics.median(own)):>12}")
        for peer in row.peers():
            mark = "*" if peer in row.against else " "
            line = f"  {mark} {peer:<22}{number(statistics.median(row.values[peer])):>12}   ratio {spread(row.ratios(peer))}"
            lines.append(line)
        if len(row.against) > 1 and row.ratios():
            lines.append(f"  * {'the best of these':<22}{number(statistics.median(row.best())):>12}   ratio {spread(row.ratios())}")
        if row.note:
            lines.append(f"    {row.note}")
    missed = [r.label for r in rows if r.reached() is False]
    judged = [r for r in rows if r.reached() is not None]
    lines.append("")
    lines.append("ratio: ours / peer, least–median–most of the rounds; * marks what the target is about")
    lines.append(f"{len(judged) - len(missed)} of {len(judged)} targets reached" + "".join(f"\n  missed: {m}" for m in missed))
    return "\n".join(lines)


def write_json(path, facts, rows):
    found = []
    for r in rows:
        found.append(
            {
                "row": r.label,
                "unit": r.unit,
                "better": r.better,
                "subject": r.subject,
                "values": r.values,
                "ratios": {p: r.ratios(p) for p in r.peers()},
                "ratio_to_best": r.ratios() if r.against else None,
                "target": {"op": r.op, "limit": r.limit, "against": r.against} if r.op else None,
                "reached": r.reached(),
                "note": r.note,
            }
        )
    path.write_text(json.dumps({**facts, "rows": found}, indent=1) + "\n")


LEFT, WIDTH, HIGH, TOP = 400, 520, 22, 50


def write_svg(path, rows):
    """For each row with a peer the spread of its ratio on a logarithmic axis, and the target; right of 1 is more."""
    drawn = [r for r in rows if r.against and r.ratios()]
    low, high = 1 / 16, 16

    def x(ratio):
        return LEFT + WIDTH * math.log(min(high, max(low, ratio)) / low) / math.log(high / low)

    bottom = TOP + HIGH * len(drawn)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 130}" height="{bottom + 40}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20" font-size="15">Entrepot / best peer of the target: least, median, most; the black tick is the target</text>',
    ]
    for mark in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16):
        colour = "#555" if mark == 1 else "#ddd"
        out.append(f'<line x1="{x(mark):.1f}" y1="{TOP - 8}" x2="{x(mark):.1f}" y2="{bottom}" stroke="{colour}"/>')
        out.append(f'<text x="{x(mark):.1f}" y="{bottom + 16}" text-anchor="middle">{mark:g}</text>')
    for i, r in enumerate(drawn):
        y, ratios = TOP + HIGH * i + HIGH // 2, r.ratios()
        middle = statistics.median(ratios)
        colour = {True: "#2a8", False: "#c33", None: "#888"}[r.reached()]
        out.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(r.label)}</text>')
        out.append(f'<line x1="{x(min(ratios)):.1f}" y1="{y}" x2="{x(max(ratios)):.1f}" y2="{y}" stroke="{colour}" stroke-width="5" stroke-opacity="0.45"/>')
        out.append(f'<circle cx="{x(middle):.1f}" cy="{y}" r="5" fill="{colour}"/>')
        if r.op:
            out.append(f'<line x1="{x(r.limit):.1f}" y1="{y - 8}" x2="{x(r.limit):.1f}" y2="{y + 8}" stroke="black" stroke-width="2"/>')
        out.append(f'<text x="{LEFT + WIDTH + 12}" y="{y + 4}">{middle:.2f} ({r.op or ""} {r.limit or 0:g})</text>')
    path.write_text("\n".join(out) + "\n</svg>\n")
