"""Looking around in a run: names of actors across namespaces, shared keys and values, the node's address."""

from __future__ import annotations

import ipaddress
import os
from importlib import import_module
from typing import Any

import pytest


@pytest.fixture
def Named(ray: Any) -> Any:
    @ray.remote
    class Named:
        def ready(self) -> bool:
            return True

        def names(self) -> Any:
            return ray.util.list_named_actors(), ray.util.list_named_actors(all_namespaces=True)

    return Named


@pytest.fixture
def kv(ray: Any) -> Any:
    module = import_module(f"{ray.__name__}.experimental.internal_kv")
    for key in module._internal_kv_list("k"):
        module._internal_kv_del(key)
    return module


# -- named actors -------------------------------------------------------------------------------------------------


def test_names_of_this_namespace_are_listed_as_strings(ray: Any, Named: Any) -> None:
    actors = [Named.options(name="first here").remote(), Named.options(name="second here").remote()]
    ray.get([actor.ready.remote() for actor in actors])
    assert {"first here", "second here"} <= set(ray.util.list_named_actors())


def test_names_of_all_namespaces_are_listed_with_theirs(ray: Any, Named: Any) -> None:
    here, there = Named.options(name="h").remote(), Named.options(name="t", namespace="there").remote()
    ray.get([here.ready.remote(), there.ready.remote()])
    namespace = ray.get_runtime_context().namespace
    found = ray.util.list_named_actors(all_namespaces=True)
    assert {"name": "h", "namespace": namespace} in found
    assert {"name": "t", "namespace": "there"} in found
    assert "t" not in ray.util.list_named_actors()


def test_an_actor_without_a_name_is_not_listed(ray: Any, Named: Any) -> None:
    before = ray.util.list_named_actors(True)
    actor = Named.remote()
    ray.get(actor.ready.remote())
    assert ray.util.list_named_actors(True) == before


def test_a_dead_actor_is_not_listed(ray: Any, Named: Any, eventually: Any) -> None:
    actor = Named.options(name="mortal").remote()
    ray.get(actor.ready.remote())
    ray.kill(actor)
    eventually(lambda: "mortal" not in ray.util.list_named_actors())


def test_an_actor_lists_names_too(ray: Any, Named: Any) -> None:
    actor = Named.options(name="asked").remote()
    here, everywhere = ray.get(actor.names.remote())
    assert "asked" in here
    assert {"name": "asked", "namespace": ray.get_runtime_context().namespace} in everywhere


def test_a_detached_actor_of_another_namespace_outlives_its_creator(ray: Any, Named: Any) -> None:
    @ray.remote
    def create() -> None:
        actor = Named.options(name="stays", namespace="far", lifetime="detached").remote()
        ray.get(actor.ready.remote())

    ray.get(create.remote())
    ray.get(ray.remote(lambda: None).remote())
    actor = ray.get_actor("stays", namespace="far")
    assert ray.get(actor.ready.remote())
    ray.kill(actor)


def test_a_named_actor_is_found_from_another_namespace_by_get_if_exists(ray: Any, Named: Any) -> None:
    options = {"name": "once", "namespace": "over there", "get_if_exists": True}
    first = Named.options(**options).remote()
    assert Named.options(**options).remote() == first
    assert Named.options(name="once", get_if_exists=True).remote() != first


def test_get_if_exists_needs_a_name(ray: Any, Named: Any) -> None:
    with pytest.raises(ValueError, match=r"name must be specified to use `get_if_exists`"):
        Named.options(get_if_exists=True).remote()


def test_a_lifetime_is_one_of_two(ray: Any, Named: Any) -> None:
    with pytest.raises(ValueError, match="`lifetime` argument must be one of 'detached', 'non_detached' and"):
        Named.options(lifetime="eternal").remote()


def test_a_dead_actors_error_has_its_id_and_class(ray: Any, Named: Any, kill: Any) -> None:
    actor = Named.remote()
    ray.get(actor.ready.remote())
    kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError, match=r"killed by `ray\.kill`") as caught:
        ray.get(actor.ready.remote())
    assert caught.value.actor_id == actor._actor_id.hex()
    assert f"actor_id: {actor._actor_id.hex()}" in str(caught.value)
    assert "class_name: " in str(caught.value)


def test_a_dead_actors_error_has_its_process_and_its_name(ray: Any, flags: Any, kill: Any) -> None:
    @ray.remote
    class Named:
        def pid(self) -> int:
            return os.getpid()

    actor = Named.options(name=flags.directory, namespace="of the dead").remote()
    pid = ray.get(actor.pid.remote())
    kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError) as caught:
        ray.get(actor.pid.remote())
    for line in (f"pid: {pid}", f"name: {flags.directory}", "namespace: of the dead"):
        assert f"\t{line}\n" in str(caught.value)


@pytest.mark.needs("processes")
def test_the_error_of_an_actor_that_crashes_says_so(ray: Any) -> None:
    @ray.remote
    class Crashing:
        def crash(self) -> None:
            os._exit(3)

    with pytest.raises(ray.exceptions.ActorDiedError, match="its worker process has died"):
        ray.get(Crashing.remote().crash.remote())


def test_an_actor_that_fails_at_birth_tells_its_id_with_the_cause(ray: Any) -> None:
    @ray.remote
    class Stillborn:
        def __init__(self) -> None:
            raise KeyError("no room")

        def ready(self) -> None: ...

    actor = Stillborn.remote()
    with pytest.raises(ray.exceptions.ActorDiedError, match="no room") as caught:
        ray.get(actor.ready.remote())
    assert caught.value.actor_id == actor._actor_id.hex()


# -- the node -----------------------------------------------------------------------------------------------------


def test_the_node_has_an_address(ray: Any) -> None:
    ipaddress.ip_address(ray.util.get_node_ip_address())


# -- keys and values ----------------------------------------------------------------------------------------------


def test_a_value_is_kept_under_its_key(kv: Any) -> None:
    assert kv._internal_kv_initialized()
    assert kv._internal_kv_get("k") is None
    assert not kv._internal_kv_exists("k")
    assert kv._internal_kv_put("k", "one") is False
    assert kv._internal_kv_get(b"k") == b"one"
    assert kv._internal_kv_exists(b"k")
    assert kv._internal_kv_del("k") == 1
    assert kv._internal_kv_del("k") == 0
    assert kv._internal_kv_get("k") is None


def test_a_key_is_overwritten_unless_that_is_declined(kv: Any) -> None:
    kv._internal_kv_put("k", b"one")
    assert kv._internal_kv_put("k", b"two", overwrite=False) is True
    assert kv._internal_kv_get("k") == b"one"
    assert kv._internal_kv_put("k", b"three") is True
    assert kv._internal_kv_get("k") == b"three"


def test_keys_are_listed_and_removed_by_what_they_begin_with(kv: Any) -> None:
    for key in ("ka", "kab", "kb"):
        kv._internal_kv_put(key, "x")
    assert sorted(kv._internal_kv_list("ka")) == [b"ka", b"kab"]
    assert kv._internal_kv_del("ka", del_by_prefix=True) == 2
    assert kv._internal_kv_list("k") == [b"kb"]


def test_a_namespace_has_keys_of_its_own(kv: Any) -> None:
    kv._internal_kv_put("k", "here")
    kv._internal_kv_put("k", "there", namespace="n")
    assert kv._internal_kv_get("k") == b"here"
    assert kv._internal_kv_get("k", namespace=b"n") == b"there"
    assert kv._internal_kv_list("k", namespace="n") == [b"k"]
    assert kv._internal_kv_del("k", namespace="n") == 1
    assert kv._internal_kv_get("k") == b"here"


def test_tasks_share_keys_with_the_driver(ray: Any, kv: Any) -> None:
    name = f"{ray.__name__}.experimental.internal_kv"

    @ray.remote
    def swap() -> Any:
        from importlib import import_module

        kv = import_module(name)
        found = kv._internal_kv_get("k")
        kv._internal_kv_put("k", "from a task")
        return found

    kv._internal_kv_put("k", "from the driver")
    assert ray.get(swap.remote()) == b"from the driver"
    assert kv._internal_kv_get("k") == b"from a task"


@pytest.mark.parametrize("key", [5, None])
def test_a_key_is_text_or_bytes(kv: Any, key: Any) -> None:
    with pytest.raises(AssertionError):
        kv._internal_kv_put(key, "x")
