"""Programs that take turns, and what is said of many runs: medians, and ratios that are taken within a round."""
import statistics
import sys


def in_turns(names, round_count, run):
    """Gives {name: [what `run(name)` gave, in rounds]}; every round starts with another name."""
    runs = {name: [] for name in names}
    order = list(names)
    for round_number in range(round_count):
        for name in order:
            say(f"round {round_number + 1} of {round_count}")
            runs[name].append(run(name))
        order.append(order.pop(0))
    say("")
    return runs


def say(progress):
    """On the last line of a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r{progress:<60}" + ("\r" + " " * 60 + "\r" if not progress else ""), end="", file=sys.stderr, flush=True)


def median(runs, measure):
    return statistics.median(run.get(measure, 0) for run in runs)


def ratios(runs, reference_runs, measure):
    return [run[measure] / reference[measure] for run, reference in zip(runs, reference_runs)]


def median_ratio(runs, reference_runs, measure):
    return statistics.median(ratios(runs, reference_runs, measure))
