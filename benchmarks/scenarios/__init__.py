"""The scenarios of hygiene.py: the program of each, and what its table says of what was seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scenarios import work
from scenarios.observer import EXIT_SECONDS, Seen
from scenarios.pools import Pool

#: Soon enough for nobody to wait for a prompt (s).
PROMPT_SECONDS = 1.0
#: What one re-init may leave behind in its process before that counts as a leak: file descriptors, threads, bytes.
LEAK = (0.01, 0.01, 20_000)
#: From so many re-inits on it can be told whether memory leaks, which comes and goes in pages.
ENOUGH = 20
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:  .*\n)+ValueError: the program's own\n")


@dataclass(frozen=True)
class Cell:
    """What the table says. `bad`: what nobody wants to happen to them."""

    text: str
    bad: bool


class Findings:
    """What a judge writes down."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._bad = False

    def good(self, text: str) -> None:
        self._texts.append(text)

    def bad(self, text: str) -> None:
        self._texts.append(f"**{text}**")
        self._bad = True

    def expect(self, right: bool, text: str, otherwise: str) -> None:
        if right:
            self.good(text)
        else:
            self.bad(otherwise)

    def cell(self) -> Cell:
        return Cell("; ".join(text for text in self._texts if text), self._bad)


Judge = Callable[[Seen, Findings], None]


@dataclass(frozen=True)
class Scenario:
    """One row. `program`: a function of program.py. `only_processes`: threads have no such thing."""

    name: str
    what: str
    program: str
    judge: Judge
    only_processes: bool = False
    small_memory: bool = False
    repeated: bool = False

    def cell(self, seen: Seen) -> Cell:
        """Judge what was seen."""
        findings = Findings()
        if seen.stuck and "stopped" not in seen.facts and "leaving" not in seen.facts:
            findings.bad("hangs")
        else:
            self.judge(seen, findings)
            if seen.facts.get("stopped") == "hangs":
                findings.bad("does not stop")
            elif seen.stuck:
                findings.bad(f"goes on for over {EXIT_SECONDS:.0f} s")
        _leftovers(seen, findings)
        return findings.cell()

    def runs_on(self, pool: Pool) -> bool:
        return pool.processes or not self.only_processes


def _leftovers(seen: Seen, findings: Findings) -> None:
    for what, names in (("process", seen.processes), ("file", seen.files), ("file in /dev/shm", seen.shared_memory)):
        if names:
            findings.bad(f"leaves {len(names)} {what if len(names) == 1 else _plural(what)}")


def _plural(what: str) -> str:
    return {"process": "processes", "file": "files"}.get(what, "files in /dev/shm")


def _outcome(found: Any, wanted: Any) -> str:
    """`found` in words: "" if it is the value `wanted`."""
    if not found:
        return "no answer"
    kind, value = found
    if kind == "hangs":
        return "waits for ever"
    if kind == "error":
        return str(value)
    return "" if value == wanted else "wrong result"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 0.95 else f"{value:.2f} s"


def _told_nothing(seen: Seen, findings: Findings) -> bool:
    """Whether the program ended before it had anything to tell."""
    if "outcomes" in seen.facts:
        return False
    lines = seen.output.strip().splitlines()
    findings.bad(f"fails: {lines[-1][:80]}" if lines else "fails")
    return True


def _after(seen: Seen, findings: Findings) -> None:
    after = _outcome(seen.facts.get("after"), 9)
    findings.expect(not after, "goes on", f"of no use afterwards: {after}")


def _worker_dies(seen: Seen, findings: Findings) -> None:
    if _told_nothing(seen, findings):
        return
    outcomes = seen.facts["outcomes"]
    own = _outcome(outcomes[work.FATAL], None)
    findings.expect(outcomes[work.FATAL][0] == "error", f"{own}, {_seconds(seen.facts['seconds'])}", own)
    lost = sum(bool(_outcome(found, i * i)) for i, found in enumerate(outcomes) if i != work.FATAL)
    findings.expect(not lost, "", f"{lost} other calls lost")
    _after(seen, findings)


def _exception_at_exit(seen: Seen, findings: Findings) -> None:
    if seen.stuck:
        return
    text = f"ends in {_seconds(seen.gone_seconds)}"
    findings.expect(seen.gone_seconds <= PROMPT_SECONDS, text, text)
    findings.expect(seen.status == 1, "", f"status {seen.status}")
    printed, tracebacks = _TRACEBACK.subn("", seen.output)
    findings.expect(tracebacks == 1, "", f"its traceback is printed {tracebacks} times")
    lines = printed.strip().splitlines()
    findings.expect(not lines, "", f"prints {len(lines)} lines of its own")


def _nested_use(seen: Seen, findings: Findings) -> None:
    if _told_nothing(seen, findings):
        return
    wrong = [text for found in seen.facts["outcomes"] if (text := _outcome(found, 14))]
    findings.expect(not wrong, f"right, {_seconds(seen.facts['seconds'])}", wrong[0] if wrong else "")


def _killed(seen: Seen, findings: Findings) -> None:
    if seen.processes:
        return
    text = f"all gone after {_seconds(seen.gone_seconds)}"
    findings.expect(seen.gone_seconds <= PROMPT_SECONDS, text, text)


def _small_memory(seen: Seen, findings: Findings) -> None:
    if _told_nothing(seen, findings):
        return
    wrong = [text for i, found in enumerate(seen.facts["outcomes"]) if (text := _outcome(found, i + 1.0))]
    findings.expect(not wrong, f"right, {_seconds(seen.facts['seconds'])}", wrong[0] if wrong else "")


def _unpicklable_result(seen: Seen, findings: Findings) -> None:
    if _told_nothing(seen, findings):
        return
    found = seen.facts["outcomes"][0]
    text = _outcome(found, None)
    findings.expect(found[0] == "error", f"{text}, {_seconds(seen.facts['seconds'])}", text)
    _after(seen, findings)


def _again_and_again(seen: Seen, findings: Findings) -> None:
    count = seen.facts.get("count")
    if count is None or "failed" in seen.facts:
        findings.bad(f"fails after {count or 0}")
        return
    findings.good(f"{count:,}, {1000 * seen.facts['seconds'] / count:,.0f} ms each")
    since = seen.facts["since"]
    if since <= 0:
        findings.good("too few to tell what grows")
        return
    descriptors, threads, size = (growth / since for growth in seen.facts["growth"])
    findings.expect(descriptors <= LEAK[0], "", f"{descriptors:.2g} file descriptors more each time")
    findings.expect(threads <= LEAK[1], "", f"{threads:.2g} threads more each time")
    findings.expect(size <= LEAK[2] or since < ENOUGH, "", f"{size / 1000:,.0f} KB more each time")


SCENARIOS: list[Scenario] = [
    Scenario(
        "a worker dies",
        "Of eight tasks the fourth ends its process by SIGKILL. Its caller should get an error, the others their "
        "results, and one task more its result, too.",
        "worker_dies",
        _worker_dies,
        only_processes=True,
    ),
    Scenario(
        "an exception at exit",
        "Two tasks are running, and would for a minute, when the program ends by an exception. Its traceback should be "
        "all that is printed, and the prompt back at once.",
        "exception_at_exit",
        _exception_at_exit,
    ),
    Scenario(
        "nested use",
        "Four tasks, on two workers, have four tasks each on the same system, and wait for them.",
        "nested_use",
        _nested_use,
    ),
    Scenario(
        "SIGKILL of the parent",
        "Two tasks are running when the program is killed. All that it started should be gone at once, too.",
        "killed",
        _killed,
    ),
    Scenario(
        "small /dev/shm",
        "With a /dev/shm of 64 MB three tasks get an array of 100 MB each, and return another one.",
        "small_memory",
        _small_memory,
        small_memory=True,
    ),
    Scenario(
        "unpicklable result",
        "A task returns a lock. Its caller should get an error, and one task more its result.",
        "unpicklable_result",
        _unpicklable_result,
    ),
    Scenario(
        "1,000 re-inits",
        "Start, one task, stop, again and again in one process; fewer times where they take too long. Nothing should "
        "grow.",
        "again_and_again",
        _again_and_again,
        repeated=True,
    ),
]
