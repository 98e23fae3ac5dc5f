"""Boosted trees on engineered features: the baseline that every learning curve shows.

Trees get the same labelled events as the networks, see the same columns, and choose their
settings on the same held-out share. Having chosen, they are fitted once more on all `n_train`
events, which networks with early stopping cannot be: the baseline is given every advantage that
the label budget allows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import threadpool_limits

from transferline.config import Recipe

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

Floats = NDArray[np.float64]
Table = NDArray[np.float32]
Cuts = tuple[NDArray[np.float32] | None, ...]

_BINS = 255  # the most that scikit-learn's histograms have
_LATE = 0.9  # of the rounds: a best one beyond says that there were too few
_MOST = 8  # times the rounds of the recipe


class Trees(Recipe):
    """Histogram-based gradient boosting (the algorithm of LightGBM, NeurIPS 2017) and its grid.

    Attributes:
        leaves: largest number of leaves of a tree, one grid point each.
        learning_rate: shrinkage of every tree.
        rounds: trees; the best number is chosen on the held-out share, and where it is near the
            end, twice as many are grown, up to eight times.
        min_leaf: least number of events in a leaf.
        l2: penalty on the values of leaves.
        columns: share of the features tried per split.
        refit: fit once more on all labelled events with the chosen settings.
    """

    leaves: tuple[Annotated[int, Field(ge=2)], ...] = Field((3, 6, 12, 24, 48), min_length=1)
    learning_rate: float = Field(0.05, gt=0)
    rounds: int = Field(400, gt=0)
    min_leaf: int = Field(10, gt=0)
    l2: float = Field(1.0, ge=0)
    columns: float = Field(0.5, gt=0, le=1)
    refit: bool = True

    def examples(self, n_fit: int) -> int:
        """Events times trees of one run, the grid and the last fit included.

        So many at most where `rounds` suffice.
        """
        return (len(self.leaves) + self.refit) * self.rounds * n_fit

    def build(self, leaves: int, rounds: int, seed: int) -> HistGradientBoostingClassifier:
        """Return the unfitted classifier of one grid point."""
        # Every command reads this module; two seconds of import are due where trees grow.
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415

        return HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=rounds,
            max_leaf_nodes=leaves,
            min_samples_leaf=self.min_leaf,
            l2_regularization=self.l2,
            max_features=self.columns,
            early_stopping=False,
            random_state=seed % 2**32,  # the largest that it takes
        )


@dataclass(frozen=True)
class Labelled:
    """Features `x [n, f]`, target `y [n]` and training weights `w [n]`."""

    x: Table
    y: NDArray[np.int64]
    w: Floats

    def only(self, columns: NDArray[np.intp]) -> Labelled:
        """Return these features alone."""
        return Labelled(self.x[:, columns], self.y, self.w)

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(
            np.concatenate((self.x, other.x)),
            np.concatenate((self.y, other.y)),
            np.concatenate((self.w, other.w)),
        )


@dataclass(frozen=True)
class BoostedTrees:
    """Fitted trees, cut after the best number of rounds.

    Attributes:
        model: the classifier.
        columns: the features it uses; those without two different values carry nothing.
        cuts: between the bins of each of them.
        rounds: how many of its trees count.
        grid: what each grid point gave on the held-out share.
        examples_seen: events times trees, summed over all fits.
        trees: number of trees grown in all fits.
        n_classes: of the task; a `natural` subset may lack some, which then have probability 0.
    """

    model: HistGradientBoostingClassifier
    columns: NDArray[np.intp]
    cuts: Cuts
    rounds: int
    grid: list[dict[str, Any]]
    examples_seen: int
    trees: int
    n_classes: int = 2

    def scores(self, x: Table) -> Floats:
        """Probability of every class, `[n, n_classes]`."""
        stages = self.model.staged_predict_proba(_binned(x[:, self.columns], self.cuts))
        last: Floats = next(islice(stages, self.rounds - 1, None))
        return _whole(last, self.model, self.n_classes)


def boosted_trees(
    recipe: Trees,
    fit: Labelled,
    select: Labelled,
    seed: int,
    *,
    threads: int = 1,
    n_classes: int = 2,
) -> BoostedTrees:
    """Fit the grid on `fit`, choose by the weighted log loss on `select`.

    Without held-out events the first grid point is taken with all its rounds. A round grows a tree
    per class, of two classes one.
    """
    recipe.build(recipe.leaves[0], 1, seed)  # loads what the limit of threads is for
    columns = _varying(fit.x)
    fit, select = fit.only(columns), select.only(columns)
    cuts = _cuts(np.concatenate((fit.x, select.x)))
    fit, select = (replace(part, x=_binned(part.x, cuts)) for part in (fit, select))
    with threadpool_limits(threads, user_api="openmp"):
        best: tuple[float, int, HistGradientBoostingClassifier] | None = None
        grid: list[dict[str, Any]] = []
        grown = 0
        for leaves in recipe.leaves if len(select.y) else recipe.leaves[:1]:
            loss, rounds, model, more = _grown(
                recipe, leaves, seed, fit, select, n_classes=n_classes
            )
            grown += more
            grid.append({"leaves": leaves, "rounds": rounds, "loss": loss})
            if best is None or loss < best[0]:
                best = (loss, rounds, model)
        assert best is not None  # there is at least one grid point
        _, rounds, model = best
        per_round = n_classes if n_classes > 2 else 1
        trees = grown * per_round
        seen = trees * len(fit.y)
        if recipe.refit and len(select.y):
            whole = fit + select
            model = recipe.build(model.max_leaf_nodes, rounds, seed).fit(whole.x, whole.y, whole.w)
            more = rounds * per_round
            trees, seen = trees + more, seen + more * len(whole.y)
    return BoostedTrees(model, columns, cuts, rounds, grid, seen, trees, n_classes)


def _grown(
    recipe: Trees, leaves: int, seed: int, fit: Labelled, select: Labelled, *, n_classes: int
) -> tuple[float, int, HistGradientBoostingClassifier, int]:
    """Grow one grid point; return its least loss, after how many rounds, and all rounds grown."""
    rounds, grown = recipe.rounds, 0
    while True:
        model = recipe.build(leaves, rounds, seed).fit(fit.x, fit.y, fit.w)
        grown += rounds
        loss, best = _best_round(model, select, rounds, n_classes)
        if not len(select.y) or best < _LATE * rounds or rounds >= _MOST * recipe.rounds:
            return loss, best, model, grown
        rounds *= 2


def _whole(probability: Floats, model: HistGradientBoostingClassifier, n_classes: int) -> Floats:
    """Return one column per class of the task, `[n, n_classes]`: zero for those never seen."""
    whole = np.zeros((len(probability), n_classes))
    seen = model.classes_.astype(np.int64)
    # Of one class scikit-learn has two columns all the same.
    whole[:, seen] = probability if len(seen) > 1 else 1.0
    return whole


def _varying(x: Table) -> NDArray[np.intp]:
    """Columns with at least two different numbers; scikit-learn cannot bin the others."""
    low, high = np.fmin.reduce(x, axis=0), np.fmax.reduce(x, axis=0)
    return np.flatnonzero(low < high)  # False where all are NaN


def _cuts(x: Table) -> Cuts:
    """Quantiles of every column with more numbers than bins, None for the others.

    scikit-learn bins by itself, but by weighted quantiles, one by one, which takes longer than
    the trees of a few hundred events.
    """
    cuts: list[NDArray[np.float32] | None] = []
    for column in x.T:
        values = column[~np.isnan(column)]
        if len(np.unique(values)) <= _BINS:
            cuts.append(None)
            continue
        shares = np.linspace(0, 1, _BINS + 1)[1:-1]
        cuts.append(np.unique(np.quantile(values, shares, method="midpoint")).astype(np.float32))
    return tuple(cuts)


def _binned(x: Table, cuts: Cuts) -> Table:
    """Put the number of the bin in the place of the number; what is missing stays so."""
    binned = x.copy()
    for place, edges in enumerate(cuts):
        if edges is not None:
            column = x[:, place]
            found = np.searchsorted(edges, column).astype(np.float32)
            binned[:, place] = np.where(np.isnan(column), np.nan, found)
    return binned


def _best_round(
    model: HistGradientBoostingClassifier, select: Labelled, rounds: int, n_classes: int
) -> tuple[float, int]:
    """Least weighted log loss over the stages, and after how many trees it stands."""
    if not len(select.y):
        return 0.0, rounds
    stages = (_whole(p, model, n_classes) for p in model.staged_predict_proba(select.x))
    losses = [
        float(
            np.average(-np.log(np.clip(p[np.arange(len(p)), select.y], 1e-12, 1)), weights=select.w)
        )
        for p in stages
    ]
    best = int(np.argmin(losses))
    return losses[best], best + 1
