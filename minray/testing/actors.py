"""`actor_programs`: programs of actors, and of tasks that know them.

Actors that run one call at a time keep a log, so that the order of their calls shows: those of one caller run in the
order in which they were made, whatever they wait for. Asynchronous and threaded ones promise no order: their results
depend on their arguments alone, and what they add up is looked at when all their calls have ended.

Handles are passed to tasks and other actors, in containers too, kept, given back and dropped; actors are named and
found, make other actors, fail in methods and in their constructor, are killed. What such a program returns does not
depend on the schedule.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from minray.testing.graphs import (
    array,
    call,
    cancel,
    drop,
    fan,
    finished,
    future,
    get,
    get_list,
    in_threads,
    mutate,
    put,
    see,
    wait,
    wait_loop,
    write_function,
)
from minray.testing.programs import Draw, Name, Program, Writer

_ACTORS = """
    import threading

    from concurrent.futures import ThreadPoolExecutor

    @ray.remote
    class Log:
        # One call at a time: the log shows their order.
        def __init__(self, first):
            self.log = [number(first)]
            self.kept = None

        def add(self, x, y=1):
            self.log.append(number([x, y]))
            return self.log

        def fail(self, x):
            self.log.append(number(x))
            raise Oops("boom")

        @ray.method(num_returns=2)
        def both(self, x):
            self.log.append(0)
            return self.log[-2:], x

        def items(self, x):
            for item in self.log:
                yield [item, x]

        def keep(self, x):
            self.kept = x

        def give(self):
            return self.kept

        def pass_on(self, other, x):
            self.log.append(number(ray.get(other[0].add.remote(x))))
            return self.log[-1]

        def first(self, refs):
            return number([ray.wait(refs, num_returns=len(refs))[0]])

        def child(self, x):
            return Log.remote([x, self.log])

    @ray.remote
    class Async:
        # Several calls at once: no order, only what they come to in all.
        def __init__(self, first):
            self.total = number(first)

        async def add(self, x, y=()):
            values = [await ref for ref in y]
            self.total += 1 + (x if isinstance(x, int) else 100)
            return [x, values]

        async def fail(self, x):
            raise Oops("boom")

        async def items(self, x):
            for item in range(3):
                yield [item, x]

        async def sum(self):
            return self.total

    @ray.remote(max_concurrency=4)
    class Threaded:
        def __init__(self, first):
            self.lock = threading.Lock()
            self.total = number(first)

        def add(self, x, y=()):
            with self.lock:
                self.total += 1 + (x if isinstance(x, int) else 100)
            return [x, y]

        def fail(self, x):
            raise Oops("boom")

        def items(self, x):
            for item in range(3):
                yield [item, x]

        def sum(self):
            return self.total

    @ray.remote
    def use(actor, x):
        return ray.get(actor.add.remote(x))

    @ray.remote
    def use_named(name, x):
        return ray.get(ray.get_actor(name).add.remote(x))

    @ray.remote
    def use_inside(things):
        return [ray.get(thing.add.remote(1)) for thing in things]

    @ray.remote
    def echo(x):
        return x

    @ray.remote
    def make(x):
        return [Log.remote(x)]
"""


@st.composite
def actor_programs(draw: Draw, *, disturbed: bool = False) -> Program:
    """A Hypothesis strategy for programs of actors (`Program`), insensitive to the schedule, on at least two CPUs.

    `disturbed`: with calls that are cancelled, and actors that are killed with calls under way; see `task_graphs`.
    """
    text = Writer(draw, budget=120)
    for number in range(1, 1 + draw(st.integers(0, 2))):
        write_function(text, number)
    make(text)
    disturbances = [cancel, cancel, cancel, kill_at_once, kill_at_once] if disturbed else []
    text.statements([*STATEMENTS, *disturbances], typical=15, most=25)
    return finished(text, _ACTORS)


def argument(text: Writer) -> str:
    """As for tasks, and handles inside of containers."""
    handles = text.holding(*KINDS)
    form = text.choose(["plain", "plain", "plain", "[{}]", "{{'k': [{}]}}"] if handles else ["plain"])
    return text.argument() if form == "plain" else form.format(text.choose(handles))


# -- actors are made, found and forgotten -------------------------------------------------------------------------


def make(text: Writer) -> None:
    """A new actor."""
    kind = text.choose(KINDS)
    form = text.choose(["", ".options(num_cpus=0)", ".options(max_restarts=1)", "named"])
    name = text.fresh(kind)
    if form == "named":
        # Its constructor succeeds: when the name of one that fails is free again is not promised.
        text.write(f"{name} = {kind}.options(name='{name}').remote({text.integer(0, 9)})")
        text.named[str(name)] = name
    else:
        text.write(f"{name} = {kind}{form}.remote({argument(text)})")
    _adopt(text, name)


def made_elsewhere(text: Writer) -> None:
    """An actor that a task or another actor has made."""
    name = text.fresh("Log")
    actor = _one(text, "Log")
    if actor is not None and text.flip():
        text.write(f"{name} = ray.get({actor}.child.remote({argument(text)}))")
    else:
        text.write(f"{name} = ray.get(make.remote({argument(text)}))[0]")
    _adopt(text, name)


def alias(text: Writer) -> None:
    """One more handle of an actor, which has travelled."""
    actor = _one(text, *KINDS)
    if actor is None:
        return
    log = _one(text, "Log")
    ways = [f"ray.get(ray.put([{actor}]))[0]", f"ray.get(echo.remote([{actor}]))[0]"]
    if log is not None:
        ways.append(f"ray.get([{log}.keep.remote([{actor}]), {log}.give.remote(), {log}.keep.remote(0)])[1][0]")
    if actor in text.named.values():
        ways.append(f"ray.get_actor('{actor}')")
        ways.append(f"{actor.holds}.options(name='{actor}', get_if_exists=True).remote(0)")
    name = Name(str(text.fresh("")), actor.holds, actor.actor)
    text.write(f"{name} = {text.choose(ways)}")
    text.names.append(name)


def forget(text: Writer) -> None:
    """Drops a handle; what was called before is done all the same."""
    actor = _one(text, *KINDS)
    if actor is not None:
        text.write(f"del {actor}")
        text.names.remove(actor)
        text.named.pop(str(actor), None)


def kill(text: Writer) -> None:
    """Kills an actor that has nothing to do."""
    actor = _one(text, *KINDS)
    if actor is not None:
        _idle(text, actor)
        text.write(f"ray.kill({actor})")
        for name in [name for name, named in text.named.items() if named.actor == actor.actor]:
            del text.named[name]


def kill_at_once(text: Writer) -> None:
    """Kills an actor, whatever it is doing."""
    actor = _one(text, *KINDS)
    if actor is not None:
        text.write(f"ray.kill({actor})")


def _adopt(text: Writer, name: Name) -> None:
    name = Name(name.text, name.holds, name.text)
    text.names.append(name)
    if name.text in text.named:
        text.named[name.text] = name
    if name.holds != "Log":
        text.write(f"{name}_calls = []")


def _one(text: Writer, *kinds: str) -> Name | None:
    actors = text.holding(*kinds)
    return text.choose(actors) if actors else None


def _idle(text: Writer, actor: Name) -> None:
    """Write that all calls which the program has made of an actor have ended."""
    if actor.holds == "Log":
        text.write(f"ray.wait([{actor}.give.remote()])")
    else:
        text.write(f"[ray.wait([call]) for call in {actor.actor}_calls]")


# -- calls --------------------------------------------------------------------------------------------------------


def add(text: Writer) -> None:
    """A call. To an `Async` actor it may bring refs to be awaited."""
    actor = _one(text, *KINDS)
    if actor is None:
        return
    args = argument(text)
    if text.flip():
        refs = ", ".join(map(str, text.some(text.holding("ref"))))
        args += f", y={argument(text)}" if actor.holds == "Log" else f", [{refs}]"
    _call(text, actor, f"{actor}.add.remote({args})")


def waits(text: Writer) -> None:
    """An actor waits for refs."""
    actor, refs = _one(text, "Log"), text.some(text.holding("ref"), least=1)
    if actor is not None and refs:
        text.bind("ref", f"{actor}.first.remote([{', '.join(map(str, refs))}])")


def fail(text: Writer) -> None:
    actor = _one(text, *KINDS)
    if actor is not None:
        _call(text, actor, f"{actor}.fail.remote({argument(text)})")


def both(text: Writer) -> None:
    """A method with two results."""
    actor = _one(text, "Log")
    if actor is not None:
        one, two = text.fresh("ref"), text.fresh("ref")
        text.write(f"{one}, {two} = {actor}.both.remote({argument(text)})")
        text.names += [one, two]


def items(text: Writer) -> None:
    """A generator method: all of its items, or one, the others being dropped."""
    actor = _one(text, *KINDS)
    if actor is not None:
        form = text.choose(["[*{}]", "[next({})]"])
        text.bind("refs", form.format(f"{actor}.items.remote({argument(text)})"))


def through_a_task(text: Writer) -> None:
    """A task calls an actor, and is waited for."""
    actor = _one(text, *KINDS)
    if actor is not None:
        _idle(text, actor)
        forms = ["use.remote({}, {})", "use_inside.remote([{}])"]
        if actor in text.named.values():
            forms.append("use_named.remote('{}', {})")
        call = text.bind("ref", text.choose(forms).format(actor, argument(text)))
        text.write(f"ray.wait([{call}])")


def through_tasks(text: Writer) -> None:
    """Several tasks call an actor at the same time."""
    actor = _one(text, "Async", "Threaded")
    if actor is not None:
        calls = text.bind("refs", f"[use.remote({actor}, i) for i in range({text.integer(1, 4)})]")
        text.write(f"{actor.actor}_calls += {calls}")


def through_an_actor(text: Writer) -> None:
    """An actor calls another, and is waited for."""
    actor, other = _one(text, "Log"), _one(text, *KINDS)
    if actor is not None and other is not None and actor.actor != other.actor:
        _idle(text, other)
        call = text.bind("ref", f"{actor}.pass_on.remote([{other}], {argument(text)})")
        text.write(f"ray.wait([{call}])")


def total(text: Writer) -> None:
    """What the calls of an actor have come to when all have ended."""
    actor = _one(text, "Async", "Threaded")
    if actor is not None:
        _idle(text, actor)
        _call(text, actor, f"{actor}.sum.remote()")


def _call(text: Writer, actor: Name, call: str) -> None:
    ref = text.bind("ref", call)
    if actor.holds != "Log":
        text.write(f"{actor.actor}_calls.append({ref})")


#: The classes of actors. Those of the first run one call at a time.
KINDS = ["Log", "Async", "Threaded"]

STATEMENTS: list[Callable[[Writer], None]] = [
    add, make, see, add, both, items, fail, waits, through_a_task, through_tasks, through_an_actor, total, alias, kill,
    forget, made_elsewhere, put, get, get_list, wait, wait_loop, array, drop, mutate, call, fan, future,
    in_threads, add,
]  # fmt: skip
