"""Framewise displacement of every run, volume by volume, with the volumes that are left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cinebold.plotting.design import stretches
from cinebold.plotting.figure_set import FigureSet
from cinebold.plotting.style import BLUE, INK, drawing

_LEAST_TOP_MM = 0.5  #: a scale that ends below would make small movements look large


@dataclass(frozen=True, eq=False)
class MotionTrace:
    """What is drawn of one run.

    Attributes
    ----------
    fd_mm : (n_volumes,) framewise displacement, NaN where it is not known; None: the run's table tells none
    keep : (n_volumes,) bool, False for volumes that are left out
    """

    label: str
    tr_s: float
    fd_mm: np.ndarray | None
    keep: np.ndarray

    @classmethod
    def of_summary(cls, label: str, tr_s: float, summary: dict) -> "MotionTrace":
        """From what the stage that prepares responses noted (`Confounds.motion`)."""
        values = summary["fd_mm"]
        keep = np.ones(summary["n_volumes"], bool)
        keep[summary["left_out"]] = False
        return cls(label, tr_s, None if values is None else np.array(values, dtype=float), keep)

    @property
    def is_known(self) -> bool:
        """Whether there is anything to draw."""
        return self.fd_mm is not None and bool(np.isfinite(self.fd_mm).any())


def draw_motion(figures: FigureSet, traces: Sequence[MotionTrace]) -> None:
    """The figure `motion` of all runs, where any has a trace."""
    if not any(trace.is_known for trace in traces):
        figures.skip("motion", "no table of confounds tells the framewise displacement")
        return
    facts = {"n_runs": len(traces), "n_left_out": sum(int((~trace.keep).sum()) for trace in traces)}
    figures.draw("motion", motion_figure, traces, facts=facts)


def motion_figure(traces: Sequence[MotionTrace], out_png: str | Path) -> Path:
    """A row a run under each other, on one scale of time and of displacement; volumes left out are shaded."""
    known = [np.nanmax(trace.fd_mm) for trace in traces if trace.is_known]
    top = 1.05 * max(_LEAST_TOP_MM, *known)
    end_s = max(len(trace.keep) * trace.tr_s for trace in traces)
    head, row, gap, foot, width = 0.42, 0.42, 0.26, 0.48, 9.0
    height = head + len(traces) * (row + gap) + foot
    with drawing(out_png, width, height) as figure:
        figure.text(
            0.012,
            1 - 0.5 * head / height,
            "Framewise displacement",
            fontsize=11,
            fontweight="bold",
            va="center",
        )
        for number, trace in enumerate(traces, 1):
            bottom = height - head - number * (row + gap)
            axes = figure.add_axes((0.55 / width, bottom / height, 1 - 0.7 / width, row / height))
            axes.set_title(trace.label, fontsize=8, fontweight="normal", pad=2)
            for start, end in stretches(~trace.keep):
                axes.axvspan(start * trace.tr_s, end * trace.tr_s, color=INK, alpha=0.16, linewidth=0)
            if trace.is_known:
                middle_s = (np.arange(len(trace.fd_mm)) + 0.5) * trace.tr_s
                axes.plot(middle_s, trace.fd_mm, color=BLUE, linewidth=0.9)
            else:
                axes.text(
                    0.5, 0.5, "not known", transform=axes.transAxes, ha="center", va="center", fontsize=8
                )
            axes.set_xlim(0, end_s)
            axes.set_ylim(0, top)
            axes.tick_params(labelbottom=number == len(traces), labelsize=7.5)
            if number == len(traces):
                axes.set_xlabel("time in the run (s)")
        figure.text(0.012, 0.5 * (height - head + foot) / height, "mm", rotation=90, va="center", fontsize=9)
    return Path(out_png)
