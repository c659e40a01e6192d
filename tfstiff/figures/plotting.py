"""Figures where the data are: `m.plot.class_matrix()`, `run.plot.curves()`, `stiffness.plot()`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes

from tfstiff.analysis.comparison import ComparedRun
from tfstiff.errors import InvalidInput
from tfstiff.figures import FIGURES, one_panel
from tfstiff.figures.overlays import overlay
from tfstiff.figures.style import Drawn, Figure
from tfstiff.records import Measurement


class Plots:
    """The figures of a measurement, of several in order of time, of a run, or of several runs.

    Each method returns the figure, which shows itself at the end of a notebook's cell; `figure.savefig("mine.pdf")`
    saves it. Besides those below there is one for every figure that `tfstiff plot --list` names, of the same name:
    `run.plot.log_curves()`, `run.plot.distance()`; of several runs `tfstiff.plot(first, second).critical_length()`.

    Args:
        *sources: A run, or measurements in order of time; or several runs.

    Raises:
        InvalidInput: There is nothing to draw.
    """

    def __init__(self, *sources: Drawn | Measurement) -> None:
        measured = [one for one in sources if isinstance(one, Measurement)]
        if not sources or (measured and len(measured) < len(sources)):
            raise InvalidInput(
                "This cannot be drawn.",
                expected="a run, several runs, or measurements in order of time",
                received=[type(one).__name__ for one in sources],
            )
        self._sources: list[Any] = [measured] if measured else list(sources)

    def __call__(self, **options: Any) -> Figure:
        """The figure that says most: curves over time, of one measurement its class matrices, of runs an overlay."""
        if len(self._sources) > 1:
            return self.overlay(**options)
        found = self._measurements()
        if len(found) == 1 and all(one.sign is not None for one in found[0].pair_sets.values()):
            return self._figure("class_matrices", **options)
        return self.curves(**options)

    def curves(
        self,
        quantity: str | None = None,
        *,
        pair_sets: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Figure:
        """Losses and stiffness against time; with a quantity, or into a panel, that one alone.

        Args:
            quantity: `cosine_within`, `sign_between`, `critical_length`, …; None for all panels, or, with `ax`, for the
                within-class cosine.
            pair_sets: Which of those measured; None for all. Of one quantity alone.
            ax: A panel to draw into; None makes a figure.

        Raises:
            InvalidInput: There is no such quantity, or no such pair set.
        """
        if quantity is None and ax is None and pair_sets is None:
            return self._figure("curves")
        return one_panel.curves_of(self._only("curves"), quantity, pair_sets, ax)

    def class_matrix(
        self, *, pair_set: str | None = None, metric: str = "cosine", ax: Axes | None = None, measurement: int = -1
    ) -> Figure:
        """One class stiffness matrix.

        Args:
            pair_set: None for train_val, where it was measured.
            metric: `sign` or `cosine`.
            ax: A panel to draw into; None makes a figure.
            measurement: Which of several, the last one as it is.

        Raises:
            InvalidInput: There is no such measurement, pair set or metric.
            NothingToDraw: The targets have no classes.
        """
        found = self._measurements()
        if not -len(found) <= measurement < len(found):
            raise InvalidInput("There is no such measurement.", expected=f"0 to {len(found) - 1}", received=measurement)
        return one_panel.class_matrix_of(found[measurement], pair_set, metric, ax)

    def overlay(
        self, quantity: str = "cosine_within", *, pair_set: str | None = None, ax: Axes | None = None
    ) -> Figure:
        """One quantity of the runs against time, a line a run; see `tfstiff.figures.overlay`."""
        return overlay(self._runs("overlay"), quantity=quantity, pair_set=pair_set, ax=ax)

    def __getattr__(self, name: str) -> Callable[..., Figure]:
        if name.startswith("_") or name not in FIGURES:
            raise AttributeError(f"There is no figure {name}; there are {', '.join(FIGURES)}.")

        def drawn(**options: Any) -> Figure:
            return self._figure(name, **options)

        drawn.__doc__, drawn.__name__ = FIGURES[name].draw.__doc__, name
        return drawn

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name, kind in FIGURES.items() if kind.takes != "nothing")})

    def __repr__(self) -> str:
        return f"Plots(of {len(self._sources)} run{'s' * (len(self._sources) > 1)}; {', '.join(FIGURES)})"

    def _figure(self, name: str, **options: Any) -> Figure:
        kind = FIGURES[name]
        known = list(inspect.signature(kind.draw).parameters)[1:]
        for option in options:
            if option not in known:
                raise InvalidInput(
                    f"The figure {name} has no such option.", expected=", ".join(known) or "none", received=option
                )
        return kind.draw(self._runs(name) if kind.takes == "runs" else self._only(name), **options)

    def _only(self, name: str) -> Drawn:
        if len(self._sources) > 1:
            raise InvalidInput(f"The figure {name} is of one run.", received=f"{len(self._sources)} runs")
        return self._sources[0]

    def _runs(self, name: str) -> list[ComparedRun]:
        if not all(hasattr(one, "folder") for one in self._sources):
            raise InvalidInput(
                f"The figure {name} is of runs.",
                expected="runs, as tfstiff.load_run gives them",
                received="measurements",
            )
        return self._sources

    def _measurements(self) -> list[Measurement]:
        only = self._only("class_matrix")
        return list(only if isinstance(only, Sequence) else only.measurements)


def plot(*sources: Drawn | Measurement) -> Plots:
    """The figures of a run, of several runs, or of measurements in order of time.

    Args:
        *sources: As for `Plots`.

    Raises:
        InvalidInput: There is nothing to draw.

    Example:
    ```python
    true, permuted = tfstiff.load_run("runs/true"), tfstiff.load_run("runs/permuted")
    tfstiff.plot(true, permuted).overlay("cosine_within")
    ```
    """
    return Plots(*sources)
