"""What workers print reaches the driver's stdout and stderr, line by line, with Ray's prefix."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import minray
import minray_loky.logs


class Printed:
    """What the driver has shown so far."""

    def __init__(self) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()

    @property
    def out(self) -> str:
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        return self.stderr.getvalue()

    def has(self, text: str) -> bool:
        return text in self.out + self.err


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Printed:
    # Not capfd, which loses what is written while it is being read, nor sys.stdout, which pytest sets before the call.
    printed = Printed()
    monkeypatch.setattr(minray_loky.logs, "sys", SimpleNamespace(stdout=printed.stdout, stderr=printed.stderr))
    return printed


def test_a_line_printed_by_a_task_has_its_name_and_pid_in_front(
    ray: Any, printed: Printed, eventually: Callable[..., Any]
) -> None:
    @ray.remote
    def speak(text: str) -> int:
        print(text)
        return os.getpid()

    pid = ray.get(speak.remote("hello"))
    eventually(lambda: printed.has("hello\n"))
    assert printed.out == f"(speak pid={pid}) hello\n"


def test_lines_are_shown_while_the_task_runs(
    ray: Any, flags: Any, printed: Printed, eventually: Callable[..., Any]
) -> None:
    @ray.remote
    def speak() -> None:
        print("begin")
        flags.wait("go")

    ref = speak.remote()
    eventually(lambda: printed.has("begin\n"))
    flags.up("go")
    ray.get(ref)


def test_an_actor_speaks_under_the_name_of_its_class(
    ray: Any, printed: Printed, eventually: Callable[..., Any]
) -> None:
    @ray.remote
    class Speaker:
        def __init__(self) -> None:
            print("born")

        def speak(self) -> int:
            print("alive")
            return os.getpid()

    speaker = Speaker.remote()
    pid = ray.get(speaker.speak.remote())
    eventually(lambda: printed.has("alive\n"))
    assert printed.out == f"(Speaker pid={pid}) born\n(Speaker pid={pid}) alive\n"


def test_an_actor_speaks_under_its_repr_if_the_class_has_one(
    ray: Any, printed: Printed, eventually: Callable[..., Any]
) -> None:
    @ray.remote
    class Speaker:
        def __init__(self, name: str) -> None:
            self.name = name

        def __repr__(self) -> str:
            return f"Speaker({self.name})"

        def speak(self) -> int:
            print("alive")
            return os.getpid()

    speaker = Speaker.remote("Ann")
    pid = ray.get(speaker.speak.remote())
    eventually(lambda: printed.has("alive\n"))
    assert printed.out == f"(Speaker(Ann) pid={pid}) alive\n"


def test_stderr_goes_to_stderr(ray: Any, printed: Printed, eventually: Callable[..., Any]) -> None:
    @ray.remote
    def speak() -> int:
        print("out")
        print("err", file=sys.stderr)
        return os.getpid()

    pid = ray.get(speak.remote())
    eventually(lambda: printed.has("out\n") and printed.has("err\n"))
    assert printed.out == f"(speak pid={pid}) out\n"
    assert printed.err == f"(speak pid={pid}) err\n"


def test_each_task_on_a_worker_speaks_under_its_own_name(printed: Printed, eventually: Callable[..., Any]) -> None:
    minray.init(backend="loky", num_cpus=1)

    @minray.remote
    def first() -> None:
        print("one")

    @minray.remote
    def second() -> None:
        print("two")

    minray.get([first.remote(), second.remote(), first.remote()])
    eventually(lambda: printed.has("one\n") and printed.out.count("\n") == 3)
    assert re.sub(r"pid=\d+", "pid", printed.out) == "(first pid) one\n(second pid) two\n(first pid) one\n"


def test_output_of_c_code_and_of_programs_is_shown_too(
    ray: Any, printed: Printed, eventually: Callable[..., Any]
) -> None:
    @ray.remote
    class Speaker:
        def speak(self) -> int:
            os.write(1, b"from C\n")
            subprocess.run([sys.executable, "-c", "print('from a program')"], check=True)
            os.write(2, b"from C, to stderr\n")
            return os.getpid()

    pid = ray.get(Speaker.remote().speak.remote())
    eventually(lambda: printed.has("from C, to stderr\n") and printed.has("program\n"))
    assert printed.out == f"(Speaker pid={pid}) from C\n(Speaker pid={pid}) from a program\n"
    assert printed.err == f"(Speaker pid={pid}) from C, to stderr\n"


def test_a_line_in_parts_is_shown_as_one(ray: Any, printed: Printed, eventually: Callable[..., Any]) -> None:
    @ray.remote
    def speak() -> None:
        for part in ("one", "two", "three"):
            print(part, end=" ", flush=True)
        print()

    ray.get(speak.remote())
    eventually(lambda: printed.has("\n"))
    assert re.fullmatch(r"\(speak pid=\d+\) one two three \n", printed.out)


def test_text_without_a_newline_is_shown_when_the_run_ends(printed: Printed) -> None:
    minray.init(backend="loky", num_cpus=1)

    @minray.remote
    def speak() -> None:
        print("unfinished", end="", flush=True)

    minray.get(speak.remote())
    minray.shutdown()
    assert printed.has("unfinished\n")


def test_empty_lines_and_several_lines_at_once_each_get_the_prefix(
    ray: Any, printed: Printed, eventually: Callable[..., Any]
) -> None:
    @ray.remote
    def speak() -> None:
        print("a\n\nb")

    ray.get(speak.remote())
    eventually(lambda: printed.has("b\n"))
    assert re.fullmatch(r"(\(speak pid=\d+\)) a\n\1 \n\1 b\n", printed.out)


def test_any_characters_arrive_as_they_are(ray: Any, printed: Printed, eventually: Callable[..., Any]) -> None:
    text = "äöü λ 漢字 🎉 \t tab"

    @ray.remote
    def speak() -> None:
        print(text)
        os.write(1, b"no utf-8: \xff\xfe\n")
        print("half a surrogate: \ud800")
        print("last")

    ray.get(speak.remote())
    eventually(lambda: printed.has("last\n"))
    assert f") {text}\n" in printed.out
    assert ") no utf-8: \ufffd\ufffd\n" in printed.out
    assert ") half a surrogate: \\ud800\n" in printed.out


def test_a_carriage_return_stays_inside_its_line(ray: Any, printed: Printed, eventually: Callable[..., Any]) -> None:
    @ray.remote
    def progress() -> None:
        for percent in (1, 50, 100):
            sys.stderr.write(f"\r{percent}%")
        sys.stderr.write("\n")

    ray.get(progress.remote())
    eventually(lambda: printed.has("100%\n"))
    assert re.fullmatch(r"\(progress pid=\d+\) \r1%\r50%\r100%\n", printed.err)


@pytest.mark.slow
def test_much_output_arrives_complete_and_in_order(ray: Any, printed: Printed, eventually: Callable[..., Any]) -> None:
    @ray.remote
    def speak(me: int) -> None:
        for number in range(5000):
            print(me, number, "x" * 60)

    ray.get([speak.remote(1), speak.remote(2)])
    eventually(lambda: printed.has("\n") and printed.out.count("\n") == 10_000)
    lines = re.findall(r"^\(speak pid=\d+\) (\d) (\d+) x{60}$", printed.out, re.M)
    for me in "12":
        assert [int(number) for who, number in lines if who == me] == list(range(5000))


@pytest.mark.slow
def test_one_very_long_line_arrives_complete(ray: Any, printed: Printed, eventually: Callable[..., Any]) -> None:
    @ray.remote
    def speak() -> None:
        print("x" * 5_000_000 + "end")

    ray.get(speak.remote())
    eventually(lambda: printed.has("end\n"))
    assert printed.out.count("x") == 5_000_000


def test_what_is_printed_just_before_a_crash_is_shown(
    ray: Any, printed: Printed, eventually: Callable[..., Any]
) -> None:
    @ray.remote(max_retries=0)
    def crash() -> None:
        print("last words")
        os.write(2, b"and an error without an end")
        os.kill(os.getpid(), 9)

    with pytest.raises(minray.exceptions.WorkerCrashedError, match="last words"):
        ray.get(crash.remote())
    eventually(lambda: printed.has("last words\n") and printed.has("and an error without an end\n"))


def test_what_was_printed_before_shutdown_is_shown_before_it_returns(printed: Printed) -> None:
    minray.init(backend="loky", num_cpus=2)

    @minray.remote
    def speak(number: int) -> None:
        print("number", number)

    minray.get([speak.remote(number) for number in range(200)])
    minray.shutdown()
    assert sorted(map(int, re.findall(r"number (\d+)\n", printed.out))) == list(range(200))


def test_the_pid_is_right_from_the_first_line_on(printed: Printed) -> None:
    minray.init(backend="loky", num_cpus=2)

    @minray.remote(num_cpus=0)
    class Speaker:
        def __init__(self) -> None:
            print("I am", os.getpid())

        @minray.method
        def ping(self) -> None:
            pass

    minray.get([Speaker.remote().ping.remote() for _ in range(20)])
    minray.shutdown()
    pids = re.findall(r"\(Speaker pid=(\d+)\) I am (\d+)\n", printed.out)
    assert len(pids) == 20 and all(shown == real for shown, real in pids)


def test_log_to_driver_false_shows_nothing(printed: Printed) -> None:
    minray.init(backend="loky", num_cpus=1, log_to_driver=False)

    @minray.remote
    def speak() -> None:
        print("x" * 200_000)
        print("error", file=sys.stderr)

    minray.get([speak.remote() for _ in range(3)])
    minray.shutdown()
    assert (printed.out, printed.err) == ("", "")


def test_logging_and_warnings_of_tasks_are_shown(ray: Any, printed: Printed, eventually: Callable[..., Any]) -> None:
    @ray.remote
    def warn() -> None:
        import logging
        import warnings

        logging.getLogger("mine").warning("logged")
        warnings.warn("warned", stacklevel=1)

    ray.get(warn.remote())
    eventually(lambda: printed.has("logged\n") and printed.has("UserWarning: warned"))


def test_a_driver_whose_stdout_is_closed_goes_on(start: Callable[..., Any]) -> None:
    program = start(
        """
        import os, sys
        import minray

        @minray.remote
        def speak(x):
            print("nobody reads this" * 1000)
            return x

        minray.init(num_cpus=2)
        sys.stdout.close()
        os.write(1, str(sum(minray.get([speak.remote(x) for x in range(20)]))).encode())
        minray.shutdown()
        sys.stdout = None
        """
    )
    assert program.runs() == "190"


@pytest.mark.parametrize(
    "stdout", ["None", "type('Broken', (), {'write': lambda self, text: 1 / 0, 'flush': lambda self: 1 / 0})()"]
)
def test_a_driver_without_a_stdout_that_works_goes_on(start: Callable[..., Any], stdout: str) -> None:
    program = start(
        f"""
        import os, sys
        import minray

        @minray.remote
        def speak(x):
            print("nobody reads this" * 10_000)
            return x

        minray.init(num_cpus=2)
        sys.stdout, kept = {stdout}, sys.stdout
        os.write(1, str(sum(minray.get([speak.remote(x) for x in range(50)]))).encode())
        minray.shutdown()
        sys.stdout = kept
        """
    )
    assert program.runs() == "1225"


def test_a_driver_whose_stdout_knows_few_characters_shows_the_others_escaped(start: Callable[..., Any]) -> None:
    program = start(
        """
        import minray

        @minray.remote
        def speak():
            print("sm\N{LATIN SMALL LETTER O WITH DIAERESIS}rg")

        minray.get(speak.remote())
        """,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert re.fullmatch(r"\(speak pid=\d+\) sm\\xf6rg\n", program.runs())


def test_a_line_that_looks_like_one_of_our_own_marks_does_no_harm(
    ray: Any, printed: Printed, eventually: Callable[..., Any]
) -> None:
    @ray.remote
    def speak() -> None:
        print("\x1eminray:oops")
        print("next")

    ray.get(speak.remote())
    eventually(lambda: printed.has("next\n"))
    assert re.fullmatch(r"(\(speak pid=\d+\)) \x1eminray:oops\n\1 next\n", printed.out)


@pytest.mark.parametrize("close", ["sys.stdout.close()", "os.close(1), os.close(2)", "setattr(sys, 'stdout', None)"])
def test_a_task_that_closes_its_output_does_not_take_the_next_one_along(backend: str, close: str) -> None:
    @minray.remote(max_retries=0)
    def closes() -> int:
        exec(close, {"os": os, "sys": sys})
        return os.getpid()

    @minray.remote(max_retries=0)
    def after() -> int:
        return os.getpid()

    with minray.init(backend=backend, num_cpus=1):
        assert minray.get(closes.remote()) == minray.get(after.remote())
