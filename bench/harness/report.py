"""The results as a page of Markdown."""
import statistics

from .measure import OURS, ratio


# Share of the processors that other work may have before figures are called worthless.
QUIET = 0.05


def page(results):
    """Machine, targets, then a table an item."""
    parts = ["# Benchmark", "", *machine(results), "", *targets(results["items"])]
    for item in results["items"]:
        parts += ["", f"## {item['title']}", "", *body(item)]
        if item.get("others", 0) > QUIET:
            parts += ["", f"**Other work had {item['others']:.0%} of the processors meanwhile: not to be quoted.**"]
    return "\n".join(parts) + "\n"


def machine(results):
    lines = [f"- {key}: {value}" for key, value in results["machine"].items()]
    lines.append(f"- threads: {results['threads']}, rounds: {results['rounds']}")
    notes = [f"\n**{note}**" for note in results["notes"]]
    return lines + notes


def targets(items):
    rows = [(t["text"] + (f" ({t['against']})" if t.get("against") else ""),
             need(t), shown(t), verdict(t)) for item in items for t in item["targets"]]
    if not rows:
        return []
    return ["A ratio says how many times better ours is: more than 1 is in our favour, for rates and for times.", "",
            *table(["target", "wanted", "measured", ""], rows)]


def need(t):
    sign = "at most" if t["sort"] == "at most" else "at least"
    return f"{sign} {t['bound']:g}" + (" x" if t["sort"] == "ratio" else "")


def shown(t):
    if t["measured"] is None:
        return "not measured"
    if t["sort"] == "ratio":
        return f"{t['measured']:.2f} x"
    return f"{t['measured']:.4g}" if t["measured"] < 2 else f"{t['measured']:.0f}"


def verdict(t):
    if t["measured"] is None:
        return ""
    met = t["measured"] <= t["bound"] if t["sort"] == "at most" else t["measured"] >= t["bound"]
    return "met" if met else "**missed**"


def body(item):
    if item.get("failed"):
        return [f"Not measured: {item['failed']}"]
    if item["name"] == "time-to":
        return time_to(item)
    if item["name"] == "kernels":
        return kernels(item)
    return contest(item)


def contest(item):
    headings = [""]
    for reading in item["readings"]:
        headings.append(reading["name"])
        if reading["better"]:
            headings += ["from – to", "ratio"]
    ours = next(c for c in item["contestants"] if c["name"] == OURS)
    rows = []
    for c in item["contestants"]:
        cells = [c["name"]]
        for reading in item["readings"]:
            cells += reading_cells(reading, c, ours)
        rows.append(cells)
    return [*table(headings, rows), *missing(item["contestants"])]


def missing(rows):
    """Who failed, and why."""
    lines = [f"- {row['name']} is missing: {row['failed']}" for row in rows if row["failed"]]
    return ["", *lines] if lines else []


def reading_cells(reading, contestant, ours):
    values, median = contestant["values"][reading["name"]], contestant["medians"][reading["name"]]
    blank = ["", ""] if reading["better"] else []
    if median is None:
        return ["", *blank]
    write = lambda n: f"{n:,.{reading['digits']}f}"
    if not reading["better"]:
        return [write(median)]
    base = ours["medians"][reading["name"]]
    against = "" if contestant is ours or base is None else f"{ratio(base, median, reading['better']):.2f}"
    return [write(median), f"{write(min(values))} – {write(max(values))}", against]


def time_to(item):
    bars = list(item["rows"][0]["reached"])
    headings = ["", *(h for bar in bars for h in (f"P@5 ≥ {bar}: epochs", "s", "P@5", "ratio"))]
    base, rows = item["rows"][0]["reached"], []
    for row in item["rows"]:
        cells = [row["name"]]
        for bar in bars:
            run = row["reached"][bar]
            if run is None:
                cells += ["not reached", "", "", ""]
                continue
            same = row is item["rows"][0] or base[bar] is None
            against = "" if same else f"{run['seconds'] / base[bar]['seconds']:.2f}"
            cells += [run["epochs"], f"{run['seconds']:.1f}", f"{run['precision']:.4f}", against]
        rows.append(cells)
    every = [(row["name"], run["epochs"], f"{run['seconds']:.1f}", f"{run['precision']:.4f}")
             for row in item["rows"] for run in row["runs"]]
    return [*table(headings, rows), *missing(item["rows"]), "", "Each run, once; the learning rate's cycle spans its epochs.", "",
            *table(["", "epochs", "s", "P@5"], every)]


def kernels(item):
    lines = [item["set"]]
    for t in item["tables"]:
        share = lambda rate: f"{rate:.0f} ({100 * rate / t['peak']:.0f}%)"
        lines += ["", f"{t['threads']} thread(s), peak {t['peak']:.0f} GFLOP/s. The plain definition's operations "
                  "are counted, so a layer that needs fewer can pass the peak.", "",
                  *table(["layer", "forward", "dx", "dw"],
                         [(l["layer"], share(l["forward"]), share(l["dx"]), share(l["dw"])) for l in t["layers"]])]
    return lines


def table(headings, rows):
    """Aligned, so that it reads well on a terminal too."""
    rows = [[str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    # Names to the left, numbers to the right.
    pad = lambda i, text: text.ljust(widths[i]) if i == 0 else text.rjust(widths[i])
    line = lambda row: "| " + " | ".join(pad(i, c) for i, c in enumerate(row)) + " |"
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return [line(headings), rule, *map(line, rows)]
