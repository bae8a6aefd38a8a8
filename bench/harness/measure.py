"""Running items in turn, and what comes out of them as plain data."""
import os
import re
import statistics
from pathlib import Path

from . import process, setup
from .items import OURS, TORCH, numbers

LIMIT = 1800  # seconds that a process may take
MEASURABLE = 0.5  # seconds from which on a process tells how busy the rest of the machine was
BARS = (0.97, 0.98)


def item(what, rounds, env):
    """Runs every contestant in turn, round by round: A B C A B C. One that fails is left out from
    then on and reported."""
    missing = what.needs()
    if missing:
        return failed(what, missing)
    values = {c.name: {r.name: [] for r in what.readings} for c in what.contestants}
    failures, others = {}, []
    for number in range(1 if what.once else rounds):
        for contestant in what.contestants:
            if contestant.name in failures:
                continue
            setup.say(f"  {what.name}, round {number + 1}: {contestant.name}")
            try:
                outcomes = [process.run(contestant.command, env, LIMIT, setup.ROOT)
                            for _ in range(contestant.repeat)]
                others += [outcome.others for outcome in outcomes if outcome.seconds >= MEASURABLE]
                for reading in what.readings:
                    found = [n for outcome in outcomes for n in reading.read(outcome)]
                    if found:
                        values[contestant.name][reading.name].append(statistics.median(found))
            except process.Failed as error:
                setup.say(f"    failed: {error}")
                failures[contestant.name] = str(error)
    return {
        "name": what.name,
        "title": what.title,
        "others": statistics.mean(others) if others else 0.0,
        "readings": [{"name": r.name, "better": r.better, "digits": r.digits} for r in what.readings],
        "contestants": [row(c, values[c.name], failures.get(c.name)) for c in what.contestants],
        "targets": [target(t, what, values) for t in what.targets],
    }


def failed(what, why):
    setup.say(f"  {what.name} cannot be measured: {why}")
    return {"name": what.name, "title": what.title, "failed": anonymous(why), "readings": [], "contestants": [],
            "targets": [{"text": t.text, "bound": t.bound, "sort": sort(t, what), "measured": None}
                        for t in what.targets]}


def row(contestant, values, failure):
    return {
        "name": contestant.name,
        "command": " ".join(anonymous(part) for part in contestant.command),
        "failed": failure and anonymous(failure),
        "values": values,
        "medians": {name: statistics.median(v) if v else None for name, v in values.items()},
    }


def anonymous(text):
    """Without the folders of this machine: results are for others to read."""
    return text.replace(f"{setup.ROOT}{os.sep}", "").replace(str(Path.home()), "~")


def sort(target, what):
    """How a target is met: by a ratio, or by ours being at least or at most the bound."""
    if target.against:
        return "ratio"
    better = next(r.better for r in what.readings if r.name == target.reading)
    return "at most" if better == "less" else "at least"


def target(wanted, what, values):
    found = {name: statistics.median(v[wanted.reading]) for name, v in values.items() if v[wanted.reading]}
    kind, measured, against = sort(wanted, what), found.get(OURS), None
    if kind == "ratio":
        rivals = {name: found[name] for name in wanted.against if name in found}
        less = next(r.better for r in what.readings if r.name == wanted.reading) == "less"
        if measured is not None and rivals:
            best = (min if less else max)(rivals, key=rivals.get)
            measured = ratio(measured, rivals[best], "less" if less else "more")
            against = best if len(wanted.against) > 1 else None
        else:
            measured = None
    return {"text": wanted.text, "bound": wanted.bound, "sort": kind, "measured": measured, "against": against}


def ratio(ours, theirs, better):
    """How many times better ours is."""
    return ours / theirs if better == "more" else theirs / ours


def time_to(items, fastest, env):
    """The recipe over more and more epochs, each a whole run of its own, until its codes reach the
    last of BARS: ours, and PyTorch in the configuration `fastest`."""
    options = dict(TORCH)[fastest]
    runners = [(OURS, items.recipe_ours), (fastest, lambda *a: items.recipe_peer(options, *a))]
    runs = {name: [] for name, _ in runners}
    failures, others = {}, []
    images = [] if items.sizes.epochs[0] > 1 else ["--images", items.sizes.recipe]
    for epochs in items.sizes.epochs:
        for name, command in runners:
            if name in failures or any(run["precision"] >= BARS[-1] for run in runs[name]):
                continue
            setup.say(f"  time-to, {epochs} epochs: {name}")
            try:
                outcome = process.run(command("--epochs", epochs, *images), env, 2 * LIMIT, setup.ROOT)
                others.append(outcome.others)
                runs[name].append({"epochs": epochs,
                                   "seconds": numbers(r"^training seconds ([\d.]+)")(outcome)[0],
                                   "precision": numbers(r"^P@5 ([\d.]+)")(outcome)[0]})
            except process.Failed as error:
                setup.say(f"    failed: {error}")
                failures[name] = str(error)
    rows = [{"name": name, "failed": failures.get(name) and anonymous(failures[name]), "runs": runs[name],
             "reached": {str(bar): next((r for r in runs[name] if r["precision"] >= bar), None) for bar in BARS}}
            for name, _ in runners]
    ours, theirs = (r["reached"][str(BARS[0])] for r in rows)
    measured = theirs["seconds"] / ours["seconds"] if ours and theirs else None
    return {"name": "time-to", "title": "The default recipe, whole: time to a P@5", "rows": rows,
            "others": statistics.mean(others) if others else 0.0,
            "targets": [{"text": f"time to a P@5 of {BARS[0]}, against the fastest PyTorch", "bound": 2.0,
                         "sort": "ratio", "measured": measured, "against": fastest}]}


def fastest_torch(results, items, env):
    """The PyTorch configuration that trains the recipe fastest: as measured, or else tried out."""
    measured = next((r for r in results if r["name"] == "recipe"), None)
    if measured is None:
        measured = item(items.recipe(), 1, env)
    rates = {c["name"]: c["medians"]["images/s"] for c in measured["contestants"]
             if c["name"] != OURS and c["medians"]["images/s"]}
    return max(rates, key=rates.get) if rates else None


def kernels(items, env):
    """Our kernels one by one, from the table that `examples/layers.rs` prints."""
    setup.say("  kernels")
    title = "Kernels, GFLOP/s (share of the cores' measured multiply-add peak)"
    try:
        output = process.run([str(items.release / "examples" / "layers")], env, LIMIT, setup.ROOT).output
    except process.Failed as error:
        return {"name": "kernels", "title": title, "failed": str(error), "tables": [], "targets": []}
    tables = []
    for line in output.splitlines():
        peak = re.match(r"(\d+) thread\(s\), multiply-add peak (\d+)", line)
        layer = re.match(r"(\S.*?)\s{2,}([-\d.inf]+)\s+([-\d.inf]+)\s+([-\d.inf]+)\s{3}", line)
        if peak:
            tables.append({"threads": int(peak[1]), "peak": float(peak[2]), "layers": []})
        elif layer and tables:
            forward, inputs, weights = map(float, layer.groups()[1:])
            tables[-1]["layers"].append({"layer": layer[1], "forward": forward, "dx": inputs, "dw": weights})
    return {"name": "kernels", "title": title, "set": output.splitlines()[0], "tables": tables, "targets": []}
