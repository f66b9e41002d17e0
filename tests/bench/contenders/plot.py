"""A bar for each contender, a panel for each load: `plot.py FILE` reads the JSON report on stdin, FILE is PNG or SVG.

It runs in the environment of the contenders, where matplotlib is.
"""

from __future__ import annotations

import json
import sys

from matplotlib.figure import Figure


def main() -> None:
    """Draw, save."""
    results = json.load(sys.stdin)["results"]
    loads = list(dict.fromkeys(one["load"] for one in results))
    figure = Figure(figsize=(8, 2.4 * len(loads)), layout="constrained")
    panels = figure.subplots(len(loads), sharex=True, squeeze=False)[:, 0]
    for load, panel in zip(loads, panels, strict=True):
        shown = sorted((one for one in results if one["load"] == load), key=lambda one: one["cpu_seconds_per_million"])
        bars = panel.barh(
            [one["contender"] for one in shown], [one["cpu_seconds_per_million"] for one in shown],
            color=["#c44e52" if one["contender"] == "vpcflow" else "#8c8c8c" for one in shown],
        )  # fmt: skip
        panel.bar_label(bars, fmt="%.1f", padding=3)
        panel.set(title=load, xscale="log")
        panel.margins(x=0.15)
        panel.invert_yaxis()
    panels[-1].set_xlabel("CPU-seconds per million records (logarithmic; less is better)")
    figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
