"""Small things in `util`: `log_once`, names of accelerators, what is there at all."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def util(ray: Any) -> Any:
    return importlib.import_module(f"{ray.__name__}.util")


@pytest.fixture
def debug(util: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    debug = importlib.import_module(f"{util.__name__}.debug")
    debug.reset_log_once()
    monkeypatch.setattr(debug, "_disabled", False)
    yield debug
    debug.reset_log_once()


def test_a_key_is_logged_once(debug: Any) -> None:
    assert [debug.log_once(key) for key in ("a", "a", "b", "a")] == [True, False, True, False]


def test_a_key_can_be_reset(debug: Any) -> None:
    debug.log_once("a")
    debug.log_once("b")
    debug.reset_log_once("a")
    assert [debug.log_once("a"), debug.log_once("b")] == [True, False]
    debug.reset_log_once()
    assert [debug.log_once("a"), debug.log_once("b")] == [True, True]


def test_logging_once_can_be_switched_off(util: Any, debug: Any) -> None:
    util.disable_log_once_globally()
    assert not util.log_once("a")


def test_this_machine_is_no_clouds(util: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_CLOUD_INSTANCE_ID", raising=False)
    assert util.get_node_instance_id() == ""
    monkeypatch.setenv("RAY_CLOUD_INSTANCE_ID", "i-123")
    assert util.get_node_instance_id() == "i-123"


def test_accelerators_have_names(util: Any) -> None:
    accelerators = importlib.import_module(f"{util.__name__}.accelerators")
    assert accelerators.NVIDIA_TESLA_V100 == "V100"
    assert accelerators.NVIDIA_A100 == "A100"
    assert accelerators.NVIDIA_H100 == "H100"
    assert accelerators.GOOGLE_TPU_V4 == "TPU-V4"
    with pytest.raises(AttributeError):
        accelerators.NONSENSE


@pytest.mark.parametrize(
    "name",
    ["ActorPool", "as_completed", "disable_log_once_globally", "enable_periodic_logging", "log_once", "map_unordered"],
)
def test_util_has_the_name(util: Any, name: str) -> None:
    assert callable(getattr(util, name))
    assert name in dir(util)
    assert name in util.__all__


@pytest.mark.parametrize("module", ["actor_pool", "queue", "multiprocessing", "debug", "helpers"])
def test_util_has_the_module(util: Any, module: str) -> None:
    importlib.import_module(f"{util.__name__}.{module}")


def test_what_util_has_not_is_an_attribute_error(util: Any) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        util.nonsense


@pytest.mark.parametrize("module", ["cloudpickle", "experimental.internal_kv", "experimental.tqdm_ray", "runtime_env"])
def test_modules_are_there_without_an_import_of_their_own(ray: Any, module: str) -> None:
    @ray.remote
    def look() -> str:
        package = __import__(ray.__name__)
        for name in module.split("."):
            package = getattr(package, name)
        return package.__name__.rpartition(".")[2]

    assert ray.get(look.remote()) == module.rpartition(".")[2]


@pytest.mark.parametrize(
    ("module", "names"),
    {
        "_raylet": "ObjectRef ObjectRefGenerator DynamicObjectRefGenerator TaskID ActorID NodeID JobID WorkerID",
        "dag.class_node": "ClassNode ClassMethodNode",
        "dag.compiled_dag_node": "CompiledDAG",
        "dag.dag_node": "DAGNode",
        "dag.function_node": "FunctionNode",
        "dag.input_node": "InputNode InputAttributeNode DAGInputData",
        "dag.output_node": "MultiOutputNode",
    }.items(),
)
def test_names_can_be_imported_from_where_rays_have_them(ray: Any, module: str, names: str) -> None:
    found = importlib.import_module(f"{ray.__name__}.{module}")
    assert not [name for name in names.split() if not hasattr(found, name)]
