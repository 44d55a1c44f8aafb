"""`util.joblib.register_ray`: joblib, and scikit-learn on it, with the backend "ray"."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

joblib = pytest.importorskip("joblib", reason="joblib is not installed; `tox -e libraries` has it")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"),
    pytest.mark.slow,  # each Parallel starts its actors
]


@pytest.fixture
def backend(ray: Any) -> Iterator[None]:
    importlib.import_module(f"{ray.__name__}.util.joblib").register_ray()
    with joblib.parallel_config("ray"):
        yield


def run(n_jobs: int | None, calls: Any, **options: Any) -> Any:
    return joblib.Parallel(n_jobs=n_jobs, **options)(calls)


@pytest.mark.usefixtures("backend")
class TestParallel:
    @pytest.mark.parametrize("n_jobs", [1, 2, -1, -2, None])
    def test_calls_run_and_their_results_come_in_order(self, n_jobs: int | None) -> None:
        assert run(n_jobs, (joblib.delayed(abs)(-i) for i in range(20))) == list(range(20))

    def test_all_cpus_of_the_run_can_be_asked_for(self) -> None:
        assert joblib.effective_n_jobs(-1) == 2
        assert joblib.effective_n_jobs(-2) == 1
        assert joblib.effective_n_jobs(1) == 1
        assert joblib.effective_n_jobs(None) == 1
        assert joblib.effective_n_jobs() == 2

    def test_no_jobs_and_more_jobs_than_cpus_are_refused(self) -> None:
        with pytest.raises(ValueError, match="n_jobs == 0"):
            run(0, [joblib.delayed(abs)(1)])
        with pytest.raises(ValueError, match="only 2 CPUs"):
            run(4, [joblib.delayed(abs)(1)])

    def test_an_error_is_raised_and_the_next_parallel_works(self) -> None:
        def fail(x: int) -> None:
            raise ValueError(f"no {x}")

        with pytest.raises(ValueError, match="no 1"):
            run(2, [joblib.delayed(fail)(1)])
        assert run(2, [joblib.delayed(abs)(-1)]) == [1]

    def test_large_arguments_are_given_as_values_that_cannot_be_changed(self) -> None:
        large = np.ones(200_000)

        def total(array: Any, *, other: Any) -> Any:
            return array.flags.writeable, float(array.sum() + other.sum())

        assert run(2, [joblib.delayed(total)(large, other=large) for _ in range(5)]) == [(False, 400_000.0)] * 5

    def test_refs_may_be_arguments(self, ray: Any) -> None:
        ref = ray.put(3)

        def fetch(values: Any) -> Any:
            return ray.get(values[0])

        assert run(2, [joblib.delayed(fetch)([ref])]) == [3]

    @pytest.mark.needs("pipes")
    def test_parallel_inside_parallel_runs_in_threads(self, ray: Any) -> None:
        def outer(count: int) -> Any:
            active = type(joblib.parallel.get_active_backend()[0]).__name__
            return active, sum(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-i) for i in range(count)))

        calls = (joblib.delayed(outer)(count) for count in range(4))
        assert run(2, calls) == [("ThreadingBackend", total) for total in (0, 0, 1, 3)]

    @pytest.mark.needs("pipes")
    def test_what_needs_shared_memory_runs_in_threads(self, ray: Any) -> None:
        got: list[int] = []
        run(2, (joblib.delayed(got.append)(i) for i in range(3)), require="sharedmem")
        assert sorted(got) == [0, 1, 2]

    def test_actors_can_have_options(self, ray: Any) -> None:
        def special() -> Any:
            return ray.get_runtime_context().get_assigned_resources()["special"]

        assert run(2, [joblib.delayed(special)()], ray_remote_args={"resources": {"special": 1}}) == [1]
        with joblib.parallel_config("ray", ray_remote_args={"resources": {"special": 1}}):
            assert run(2, [joblib.delayed(special)()]) == [1]
        with pytest.raises(ValueError, match="nonsense"):
            run(2, [joblib.delayed(abs)(1)], ray_remote_args={"nonsense": 1})

    def test_a_call_that_takes_too_long_ends_it(self, flags: Any) -> None:
        with pytest.raises((TimeoutError, joblib.parallel.TimeoutError)):
            run(2, [joblib.delayed(flags.wait)("never")], timeout=0.1)
        flags.up("never")

    @pytest.mark.needs("pipes")
    def test_scikit_learn_runs_on_it(self) -> None:
        datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV

        features, classes = datasets.make_classification(400, n_features=50, random_state=0)
        search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3, n_jobs=2).fit(features, classes)
        with joblib.parallel_config("sequential"):
            alone = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3).fit(features, classes)
        assert search.best_params_ == alone.best_params_
        assert np.allclose(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
        forest = RandomForestClassifier(10, n_jobs=2, random_state=0).fit(features, classes)
        assert forest.score(features, classes) > 0.9
