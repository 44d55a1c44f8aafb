"""`task_graphs`: programs that are random dynamic graphs of tasks.

Chains, fans in and out, tasks in tasks in tasks, branches and numbers of calls that depend on values, refs in
containers and as results, generators, several results, `put`, `wait`, errors and how far they travel, retries, arrays
too large for a message, references dropped early. What such a program returns does not depend on the schedule.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import strategies as st

from minray.testing.programs import PRELUDE, Draw, Function, Name, Program, Writer

#: How many calls a program may make in all, and how many one call of a function of it.
_ALL_CALLS, _CALLS = 120, 25

_TRIES = """
    from concurrent.futures import ThreadPoolExecutor

    @ray.remote(num_cpus=0)
    class Tries:
        def __init__(self):
            self.count = 0

        def up(self):
            self.count += 1
            return self.count

    @ray.remote(max_retries=2, retry_exceptions=[Oops])
    def flaky(tries, failures, x):
        if ray.get(tries.up.remote()) <= failures:
            raise Oops("again")
        return number(x) + failures
"""

_OPTIONS = ["", "", ".options(num_cpus=0)", ".options(num_cpus=0.5)", ".options(num_cpus=2)", ".options(name='n')"]


@st.composite
def task_graphs(draw: Draw, *, disturbed: bool = False) -> Program:
    """A Hypothesis strategy for programs of tasks (`Program`), insensitive to the schedule, on at least two CPUs.

    `disturbed`: with calls that are cancelled. What such a program comes to does depend on the schedule; that it ends,
    and leaves nothing behind, does not.
    """
    text = Writer(draw, budget=_ALL_CALLS)
    for number in range(1, 1 + draw(st.integers(1, 4))):
        write_function(text, number)
    text.statements([*STATEMENTS, cancel, cancel, cancel] if disturbed else STATEMENTS, typical=12, most=25)
    return finished(text, _TRIES)


def finished(text: Writer, definitions: str) -> Program:
    """The program with these statements and what they need: it returns what it can see of every name."""
    observed = ", ".join(f"seen({name})" for name in text.holding("value", "ref", "refs"))
    text.write(f"return [{observed}]")
    body = "\n".join(text.lines) + "\n"
    parts = re.split(r"\n\n    (?! )", PRELUDE + definitions)
    # Where the program is about something else, `number` and all the rest would only hide it.
    needed: list[str] = []
    for part in reversed(parts[1:]):
        names = re.search(r"(?:def|class|import) (\w+)", part)
        assert names is not None, part
        if re.search(rf"\b{names[1]}\b", "\n".join([body, *needed])):
            needed.insert(0, part)
    first = parts[0] + "\n    "
    return Program(first + "\n\n    ".join([part.rstrip() for part in needed] + [body.lstrip()]))


def write_function(text: Writer, number: int) -> None:
    """Write a remote function that may call those before it."""
    kind = text.choose(["plain", "plain", "plain", "pair", "stream"])
    parameters = ["x", "y=2"] if kind == "plain" else ["x"]
    body = Writer(text.draw, indent=text.indent + "    ", functions=list(text.functions), budget=_CALLS, cost=1)
    body.names = [_value(name[0]) for name in parameters]
    if kind == "stream":
        body.statements([*INNER, _yield], typical=5, most=6)
        if not any("yield" in line for line in body.lines):
            _yield(body)
    else:
        body.statements(INNER, typical=3, most=5)
        body.write(f"return {body.argument()}, {body.argument()}" if kind == "pair" else f"return {_result(body)}")
    text.lines += [text.indent + {"pair": "@ray.remote(num_returns=2)"}.get(kind, "@ray.remote")]
    text.lines += [f"{text.indent}def f{number}({', '.join(parameters)}):", *body.lines, ""]
    text.functions.append(Function(f"f{number}", kind, body.cost))


def _value(name: str) -> Name:
    return Name(name, "value")


def _result(body: Writer) -> str:
    """What a function returns: mostly what its arguments come to."""
    form = body.choose(["number", "argument", "put"])
    argument = body.argument()
    return {"number": f"number({argument}) + 1", "argument": argument, "put": f"ray.put([{argument}])"}[form]


# -- statements ---------------------------------------------------------------------------------------------------


def call(text: Writer) -> None:
    """A call of a function; if none can be made, a `put`."""
    functions = text.callables("plain", "pair")
    if not functions:
        return put(text)
    function = text.choose(functions)
    text.cost += function.cost
    args = text.argument()
    if function.kind == "pair":
        one, two = text.fresh("ref"), text.fresh("ref")
        text.write(f"{one}, {two} = {function.name}.remote({args})")
        text.names += [one, two]
        return None
    args += text.choose(["", ", {}", ", y={}"]).format(text.argument())
    text.bind("ref", f"{function.name}{text.choose(_OPTIONS)}.remote({args})")
    return None


def put(text: Writer) -> None:
    text.bind("ref", f"ray.put([{text.argument()}])")


def get(text: Writer) -> None:
    refs = text.holding("ref")
    if refs:
        text.bind("value", f"ray.get({text.choose(refs)})")


def future(text: Writer) -> None:
    """A value by way of a `concurrent.futures.Future`."""
    refs = text.holding("ref")
    if refs:
        text.bind("value", f"{text.choose(refs)}.future().result()")


def in_threads(text: Writer) -> None:
    """Values that several threads of the driver fetch at the same time."""
    names = ", ".join(map(str, text.some(text.holding("ref", "refs"), least=1, most=6)))
    value = text.fresh("value")
    text.write("with ThreadPoolExecutor(3) as pool:")
    text.write(f"    {value} = list(pool.map(seen, [{names}]))")
    text.names.append(value)


def get_list(text: Writer) -> None:
    lists = text.holding("refs")
    if lists and text.flip():
        text.bind("value", f"ray.get({text.choose(lists)})")
    else:
        text.bind("value", f"ray.get([{', '.join(map(str, text.some(text.holding('ref'))))}])")


def see(text: Writer) -> None:
    text.bind("value", f"seen({text.argument()})")


def fan(text: Writer) -> None:
    """Several calls of a function: a fixed number of them, or one that depends on a value."""
    most = text.integer(1, 5)
    functions = text.callables("plain", times=most)
    if not functions:
        return put(text)
    function = text.choose(functions)
    text.cost += most * function.cost
    argument, times = text.argument(), str(most)
    if text.flip():
        times = f"abs(seen({text.argument()})) % {most + 1}"
    text.bind("refs", f"[{function.name}.remote({argument}, i) for i in range({times})]")
    return None


def chain(text: Writer) -> None:
    """A call of the result of a call of the result ..."""
    length = text.integer(1, 6)
    functions = text.callables("plain", times=length)
    if not functions:
        return put(text)
    function = text.choose(functions)
    text.cost += length * function.cost
    name = text.bind("ref", f"ray.put({text.integer(0, 9)})")
    text.write(f"for _ in range({length}):")
    text.write(f"    {name} = {function.name}.remote({name})")
    return None


def items(text: Writer) -> None:
    """A generator: all of its items, or some, the others being dropped."""
    functions = text.callables("stream")
    if not functions:
        return fan(text)
    function = text.choose(functions)
    text.cost += function.cost
    options = text.choose(["", "", ".options(_generator_backpressure_num_objects=1)"])
    stream = f"{function.name}{options}.remote({text.argument()})"
    form = text.choose(["[*{}]", "[ref for ref, _ in zip({}, range({}))]"])
    text.bind("refs", form.format(stream, text.integer(0, 3)))
    return None


def wait(text: Writer) -> None:
    """Waits for some of several refs: how many are ready then is known, which ones is not."""
    refs = _waitable(text)
    if refs:
        times = text.integer(1, len(refs))
        refs_text = ", ".join(map(str, refs))
        text.bind("value", f"[len(part) for part in ray.wait([{refs_text}], num_returns={times})]")


def wait_loop(text: Writer) -> None:
    """Takes results as they become ready, and adds them up."""
    refs = _waitable(text)
    if refs:
        total, timeout = text.bind("value", "0"), text.choose(["", ", timeout=0.001", ", timeout=0"])
        pending = f"p{total}"
        text.write(f"{pending} = [{', '.join(map(str, refs))}]")
        text.write(f"while {pending}:")
        text.write(f"    done, {pending} = ray.wait({pending}{timeout})")
        text.write(f"    {total} += sum(map(seen, done))")


def _waitable(text: Writer) -> list[Name]:
    return text.some(text.holding("ref"), least=1, most=6)


def array(text: Writer) -> None:
    """An array that does not fit into a message."""
    text.bind("value", f"numpy.full(30_000, seen({text.argument()}))")


def retry(text: Writer) -> None:
    """A task that fails some times before it succeeds; three times is once too often."""
    if text.cost + 4 > text.budget:
        return put(text)
    text.cost += 4
    text.bind("ref", f"flaky.remote(Tries.remote(), {text.integer(0, 3)}, {text.argument()})")
    return None


def drop(text: Writer) -> None:
    """Forgets a name."""
    names = text.holding("value", "ref", "refs")
    if names:
        name = text.choose(names)
        text.write(f"del {name}")
        text.names.remove(name)


def mutate(text: Writer) -> None:
    """Changes a list in place: what was sent or stored before does not change with it."""
    values = text.holding("value")
    if values:
        value = text.choose(values)
        text.write(f"if isinstance({value}, list):")
        text.write(f"    {value}.append({text.integer(0, 9)})")


def branch(text: Writer) -> None:
    """One of two calls, as a value decides."""
    functions = text.callables("plain")
    if not functions:
        return put(text)
    one, other = text.choose(functions), text.choose(functions)
    text.cost += max(one.cost, other.cost)
    text.bind("ref", f"({one.name} if seen({text.argument()}) % 2 else {other.name}).remote({text.argument()})")
    return None


def cancel(text: Writer) -> None:
    """Cancels a call, and those that it has made."""
    refs = text.holding("ref", "refs")
    if refs:
        ref = text.choose(refs)
        if ref.holds == "refs":
            text.write(f"[ray.cancel(ref) for ref in {ref}]")
        else:
            text.write(f"ray.cancel({ref}{text.choose(['', ', recursive=False'])})")


def fail(text: Writer) -> None:
    """Raises, if a value says so."""
    text.write(f"if number({text.argument()}) % 3 == 1:")
    text.write("    raise Oops('boom')")


def _yield(body: Writer) -> None:
    if body.flip():
        body.write(f"yield {body.argument()}")
    else:
        body.write(f"for i in range({body.integer(0, 3)}):")
        body.write(f"    yield [i, {body.argument()}]")


#: Of the body of the program; of its functions. The simplest first.
STATEMENTS: list[Callable[[Writer], None]] = [
    call, put, see, fan, chain, items, get, get_list, wait, wait_loop, array, drop, retry, mutate, branch, future,
    in_threads, call, call,
]  # fmt: skip
INNER: list[Callable[[Writer], None]] = [
    call, put, see, fan, get, get_list, wait, items, wait_loop, array, drop, mutate, branch, fail, future, call,
]  # fmt: skip
