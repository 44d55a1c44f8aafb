"""Names, addresses and entry points: which backend serves a run, and what the user reads when none does."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import pytest

from minray import registry


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINRAY_BACKEND", raising=False)
    monkeypatch.delenv("MINRAY_ADDRESS", raising=False)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Pretend that these backends, and no others, are installed: name -> ``module:object``."""

    def pretend(backends: dict[str, str]) -> None:
        points = [importlib.metadata.EntryPoint(name, value, registry.GROUP) for name, value in backends.items()]
        monkeypatch.setattr(registry, "_own_entry_points", dict)
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == registry.GROUP else [])

    return pretend


def test_an_installed_backend_is_loaded(install: Callable[[dict[str, str]], None]) -> None:
    install({"mine": "collections:OrderedDict"})

    from collections import OrderedDict

    install({"mine": "collections:OrderedDict", "loky": "x:y"})
    assert registry.load("mine") is OrderedDict


def test_an_unknown_name_lists_what_is_installed(install: Callable[[dict[str, str]], None]) -> None:
    install({"threads": "a:b", "loky": "c:d", "mine": "e:f"})

    with pytest.raises(ValueError, match=r"There is no backend 'lokey'. Installed are: loky, mine, threads"):
        registry.load("lokey")


@pytest.mark.parametrize("name", ["ssh", "sim", "ray", "dask"])
def test_a_backend_that_is_planned_is_not_said_to_be_a_matter_of_installing(
    install: Callable[[dict[str, str]], None], name: str
) -> None:
    install({"threads": "a:b", "loky": "c:d"})

    with pytest.raises(ImportError, match=f"'{name}' is planned, .* which has: loky, threads"):
        registry.load(name)


def test_a_backend_that_cannot_be_imported_chains_its_cause(install: Callable[[dict[str, str]], None]) -> None:
    install({"loky": "no_such_module_of_loky:Pool"})

    with pytest.raises(ImportError, match=r"'loky' is installed .* could not be loaded") as caught:
        registry.load("loky")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_bare_checkout_is_told_how_to_install_itself(install: Callable[[dict[str, str]], None]) -> None:
    install({})

    with pytest.raises(ImportError, match=r"bare checkout.*pip install -e"):
        registry.load("loky")


def test_nothing_given_means_loky() -> None:
    assert registry.choose(None, None) == ("loky", None)
    assert registry.choose(None, "local") == ("loky", None)


@pytest.mark.parametrize(
    ("address", "backend"),
    [("ssh://u@a,u@b", "ssh"), ("ray://h:10001", "ray"), ("auto", "ray"), ("tcp://h:8786", "dask")],
)
def test_the_form_of_an_address_tells_its_backend(address: str, backend: str) -> None:
    assert registry.choose(None, address) == (backend, address)
    assert registry.choose(backend, address) == (backend, address)


def test_the_environment_stands_in_for_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINRAY_BACKEND", "threads")
    assert registry.choose(None, None) == ("threads", None)
    assert registry.choose("loky", None) == ("loky", None)

    monkeypatch.delenv("MINRAY_BACKEND")
    monkeypatch.setenv("MINRAY_ADDRESS", "ssh://h")
    assert registry.choose(None, None) == ("ssh", "ssh://h")
    assert registry.choose("threads", None) == ("threads", None)
    assert registry.choose(None, "tcp://h:1") == ("dask", "tcp://h:1")


def test_a_script_for_a_cluster_runs_here_when_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINRAY_BACKEND", "threads")

    assert registry.choose(None, "auto") == ("threads", None)


def test_local_mode_means_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINRAY_BACKEND", "loky")

    assert registry.choose(None, None, local_mode=True) == ("threads", None)
    assert registry.choose("threads", None, local_mode=True) == ("threads", None)
    with pytest.raises(ValueError, match=r"local_mode=True means backend='threads', but backend='loky'"):
        registry.choose("loky", None, local_mode=True)


def test_a_backend_and_the_address_of_another_are_a_contradiction() -> None:
    with pytest.raises(ValueError, match="belongs to the dask backend, but the backend is 'loky'"):
        registry.choose("loky", "tcp://h:8786")


@pytest.mark.parametrize("backend", ["threads", "loky", "sim"])
def test_a_backend_of_this_machine_takes_no_address(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=rf"'{backend}' runs on this machine and takes no address, but 'h:6379'"):
        registry.choose(backend, "h:6379")
    monkeypatch.setenv("MINRAY_BACKEND", backend)
    with pytest.raises(ValueError, match="takes no address"):
        registry.choose(None, "h:6379")
    assert registry.choose(None, "auto") == registry.choose(None, "local") == (backend, None)


def test_an_address_of_no_known_form_lists_the_forms_unless_the_backend_is_named() -> None:
    with pytest.raises(ValueError, match=r"No backend takes the address 'h:6379'. Use 'ssh://"):
        registry.choose(None, "h:6379")
    assert registry.choose("mine", "whatever") == ("mine", "whatever")
