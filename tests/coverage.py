"""Totals of a coverage export of llvm-cov by room, and the places that no test reaches.

A branch is one outcome of one condition; those of a macro count where it is used. Outcomes that no test
may be able to reach are counted all the same: they stand in a list of their own, so that nobody takes
100 % for what it is not. Only what is no condition in this build is left out: `while (true)`, and the
switches of the seeded bugs (lib/base/seeded_bug.h), which are constants outside of their own build.
"""
import argparse
import collections
import json
import re

# Conditions of our own mistakes (lib/base/invariant.h, check.h): false in no test, by design.
BY_DESIGN = re.compile(r"MILLRACE_(INVARIANT|CHECK)")
CONSTANT = re.compile(r"!?SeededBug\(Bug::\w+\)|true")


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


class Totals:
    def __init__(self):
        self.branches = self.taken = self.by_design = self.conditions = self.shown = 0

    def add(self, other):
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def branch_share(self):
        return 100 * self.taken / max(1, self.branches)

    def mcdc_share(self):
        return 100 * self.shown / max(1, self.conditions)

    def row(self, name):
        reachable = 100 * self.taken / max(1, self.branches - self.by_design)
        return (f"{name:28} {self.taken:5}/{self.branches:<5} {self.branch_share():6.2f} % "
                f"{reachable:8.2f} % {self.shown:6}/{self.conditions:<5} {self.mcdc_share():6.2f} %")


def add_outcomes(counts, place, branch):
    counts[place][0] += branch[4]
    counts[place][1] += branch[5]


def measure(file, lines):
    """The totals of one file, and its (line, column, text) of what is not reached, by kind."""
    totals = Totals()
    missed, by_design, not_shown = [], [], []
    # One place can be there several times: in each instance of a template.
    counts = collections.defaultdict(lambda: [0, 0])
    for branch in file.get("branches", []):
        add_outcomes(counts, tuple(branch[:4]), branch)
    for expansion in file.get("expansions", []):
        for number, branch in enumerate(expansion["branches"]):
            add_outcomes(counts, (*expansion["source_region"][:4], number), branch)
    for (line, column, end_line, end_column, *macro), outcomes in sorted(counts.items()):
        text = lines[line - 1]
        condition = text[column - 1:end_column - 1 if end_line == line else None]
        if CONSTANT.fullmatch(condition):
            continue
        for outcome, count in zip(("true", "false"), outcomes):
            totals.branches += 1
            if count:
                totals.taken += 1
                continue
            designed = BY_DESIGN.fullmatch(condition) if macro else None
            totals.by_design += bool(designed)
            (by_design if designed else missed).append((line, column, f"never {outcome}: {condition}"))
    # The summary leaves constants out, the records do not.
    mcdc = file["summary"]["mcdc"]
    totals.conditions, totals.shown = mcdc["count"], mcdc["covered"]
    for record in file.get("mcdc_records", []):
        line, column = record[:2]
        shown = record[-1]
        if not all(shown):
            which = ", ".join(str(i + 1) for i, independent in enumerate(shown) if not independent)
            not_shown.append((line, column, f"condition {which} of {len(shown)}: {lines[line - 1].strip()}"))
    return totals, missed, by_design, not_shown


def print_list(title, places):
    print(f"\n== {title}: {len(places)}")
    for path, line, column, text in places:
        print(f"{path}:{line}:{column}: {text}"[:160])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("export")
    parser.add_argument("rooms", nargs="+")
    parser.add_argument("--least-branches", type=float, default=0)
    parser.add_argument("--least-mcdc", type=float, default=0)
    args = parser.parse_args()
    with open(args.export, encoding="utf-8") as file:
        files = json.load(file)["data"][0]["files"]

    rooms = {room: Totals() for room in args.rooms}
    lists = [[], [], []]
    print(f"{'':28} {'branches':>11} {'':8} {'without':>10} {'conditions':>12} {'':7}")
    print(f"{'file':28} {'':>11} {'':8} {'invariants':>10} {'shown (MC/DC)':>15}")
    for file in sorted(files, key=lambda f: f["filename"]):
        path = re.sub(r".*/lib/", "lib/", file["filename"])
        totals, *places = measure(file, read_lines(file["filename"]))
        rooms[path.split("/")[1]].add(totals)
        print(totals.row(path.removeprefix("lib/")))
        for whole, some in zip(lists, places):
            whole.extend((path, *place) for place in some)
    everything = Totals()
    for totals in rooms.values():
        everything.add(totals)
    print_list("branches that no test takes", lists[0])
    print_list("branches that only a broken invariant takes, by design", lists[1])
    print_list("conditions not shown to decide by themselves (MC/DC)", lists[2])
    print()
    for room, totals in rooms.items():
        print(totals.row(room))
    print(everything.row("all"))
    print(f"coverage branches={everything.branch_share():.2f}% mcdc={everything.mcdc_share():.2f}%")
    if everything.branches == 0:
        raise SystemExit("no branch was measured")
    if everything.branch_share() < args.least_branches or everything.mcdc_share() < args.least_mcdc:
        raise SystemExit(f"wanted: at least {args.least_branches} % and {args.least_mcdc} %")


if __name__ == "__main__":
    main()
