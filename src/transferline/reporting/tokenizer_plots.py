"""What a tokenizer makes of jets: spectra before and after, and how often its codes are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from transferline.evaluation.roc import Floats
from transferline.reporting.style import BACKGROUND, SIGNAL, SIMULATION, Label, new_figure, plot

_RANGES = (2.0, 5.0, 10.0)  # ratios, and their inverse, that the axis reaches
_INSIDE = 0.9  # of the ratios that it is to hold


@plot
def spectrum(
    before: Floats,
    after: Floats,
    bins: Floats,
    title: str,
    label: Label = SIMULATION,
    *,
    names: tuple[str, str] = ("original", "from tokens"),
) -> Figure:
    """Draw a quantity of the original and of the reconstructed jets, and their ratio.

    Values beyond the bins stand in the outermost ones, as the figure says. Bars are Poisson errors
    of the reconstruction; an arrow is a ratio beyond the axis.

    Args:
        before: `[n]` values of the original.
        after: `[n]` of the reconstruction.
        bins: edges.
        title: of the axis, with its unit.
        label: above the plot.
        names: what the two are, for the legend.
    """
    figure, [top, below] = new_figure(label, heights=(3.0, 1.0))
    counts = [np.histogram(np.clip(v, bins[0], bins[-1]), bins)[0] for v in (before, after)]
    first, second = (c.astype(np.float64) for c in counts)
    top.stairs(first, bins, fill=True, color=BACKGROUND, alpha=0.3, label=names[0])
    top.stairs(second, bins, color=SIGNAL, label=names[1])
    if first.max(initial=0) > 100 * max(np.median(first), 1):
        top.set_yscale("log")
        top.set_ylim(bottom=0.5)
    top.margins(x=0)
    low, high = top.get_ylim()
    top.set_ylim(low, high * (3 if top.get_yscale() == "log" else 1.15))
    top.set_ylabel("Entries")
    top.legend(loc="upper right", title=_beyond(before, after, bins), title_fontsize="x-small")
    _ratio(below, first, second, bins)
    below.set_xlabel(title)
    return figure


def _beyond(before: Floats, after: Floats, bins: Floats) -> str:
    """Say which outermost bins hold more than what lies between their edges."""
    low = min(values.min(initial=bins[0]) for values in (before, after)) < bins[0]
    high = max(values.max(initial=bins[-1]) for values in (before, after)) > bins[-1]
    held = [("first bin: with underflow", low), ("last bin: with overflow", high)]
    return "\n".join(text for text, found in held if found)


def _ratio(axes: Axes, first: Floats, second: Floats, bins: Floats) -> None:
    """On a logarithmic axis: half is as far from one as twice."""
    centre, some = (bins[1:] + bins[:-1]) / 2, (first > 0) | (second > 0)
    ratio = np.divide(second, first, out=np.full(len(first), np.inf), where=first > 0)
    most = ratio_range(ratio[some])
    inside = some & (ratio >= 1 / most) & (ratio <= most)
    error = second[inside] ** 0.5 / first[inside]
    axes.axhline(1.0, color="#909090", linewidth=1.0)
    axes.set_yscale("log")
    axes.set_ylim(1 / most, most)
    axes.errorbar(
        centre[inside],
        ratio[inside],
        (np.minimum(error, 0.99 * ratio[inside]), error),  # a logarithm knows no zero
        color=SIGNAL,
        marker="o",
        markersize=3.5,
        linestyle="none",
        elinewidth=1.0,
    )
    for beyond, place, marker in ((ratio > most, 0.93, "^"), (ratio < 1 / most, 0.07, "v")):
        axes.plot(
            centre[some & beyond],
            np.full((some & beyond).sum(), place),
            transform=axes.get_xaxis_transform(),
            color=SIGNAL,
            marker=marker,
            markerfacecolor="white",
            markersize=5,
            linestyle="none",
        )
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if 1 / most <= tick <= most]
    axes.yaxis.set_major_locator(FixedLocator(ticks if most < 10 else [0.1, 0.3, 1.0, 3.0, 10.0]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("Ratio")


def ratio_range(ratios: Floats) -> float:
    """Return up to which ratio, and down to which inverse, an axis reaches to hold nearly all.

    >>> ratio_range(np.array([0.9, 1.2, 1.0])), ratio_range(np.array([0.3, 1.2, 0.0]))
    (2.0, 10.0)
    """
    with np.errstate(divide="ignore"):
        far = np.abs(np.log(ratios))
    held = (most for most in _RANGES if np.mean(far <= np.log(most)) >= _INSIDE)
    return next(held, _RANGES[-1])


@plot
def code_usage(counts: Floats, quality: Mapping[str, float], label: Label = SIMULATION) -> Figure:
    """Draw the share of particles that each code has, most frequent first."""
    figure, [axes] = new_figure(label)
    used = np.sort(counts[counts > 0])[::-1] / counts.sum()
    axes.plot(np.arange(1, len(used) + 1), used, color=SIGNAL, label="codes")
    axes.axhline(1 / len(counts), color="#909090", linestyle="--", label="all codes equally often")
    axes.set_yscale("log")
    axes.set_xlim(1, len(counts))
    axes.set_xlabel("Rank of the code")
    axes.set_ylabel("Share of particles")
    title = f"{100 * quality['usage']:.1f} % used, perplexity {quality['perplexity']:.0f}"
    axes.legend(loc="upper right", title=title, title_fontsize="small")
    return figure


def edges(values: Sequence[Floats], number: int = 40, *, whole: bool = False) -> Floats:
    """Return bins from the 0.1 to the 99.9 per cent quantile of all values.

    Args:
        values: arrays of them.
        number: of bins, at most if they are to have `whole` numbers in their middle.
        whole: see `number`.
    """
    every = np.concatenate([np.asarray(v, np.float64) for v in values])
    low, high = np.quantile(every, [0.001, 0.999])
    if whole:
        step = max(1, int(np.ceil((high - low + 1) / number)))
        return np.arange(np.floor(low) - 0.5, high + step + 0.5, step)
    high = high if high > low else low + 1.0
    return np.linspace(low, high, number + 1)
