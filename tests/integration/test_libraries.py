"""Libraries from PyPI that run on Ray run on minray: the programs are in programs/."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

Run = Callable[[str], str]


def needs(library: str) -> pytest.MarkDecorator:
    """Skip where `library`, after which the environment of tox is named, is not installed."""
    missing = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"{library} is not installed; `tox -e {library}` has it")


@needs("modin")
def test_modin_computes_what_pandas_does(run: Run) -> None:
    assert "agrees with pandas" in run("modin_frames.py")


@needs("tianshou")
def test_tianshou_steps_environments_that_are_actors(run: Run) -> None:
    assert "agree" in run("tianshou_environments.py")


@needs("sklearn")
def test_sklearn_searches_a_grid_through_joblib(run: Run) -> None:
    assert "the same search" in run("sklearn_grid.py")


@needs("emcee")
def test_emcee_samples_with_a_pool(run: Run) -> None:
    assert "the same chain" in run("emcee_chain.py")


@needs("dask")
def test_dask_computes_its_graphs_on_ray(run: Run) -> None:
    assert "the same sums" in run("dask_graphs.py")


@needs("evotorch")
def test_evotorch_evaluates_populations_on_actors(run: Run) -> None:
    assert "found the minimum" in run("evotorch_search.py")
