"""An inverted index over the source files of the Python standard library, built with map and reduce tasks.

A map task reads some files and finds every identifier in them; a reduce task merges one share of the alphabet. Not
more than a few map tasks are under way at any moment: `ray.wait` says when the next one may start. The finished
index stays where it was made, in pieces, and look-ups are tasks on the piece that knows the answer. At the end the
same work is done by a plain loop, and the two results are compared.

    python examples/index.py
    python examples/index.py --find heappush heappop
    python examples/index.py --root ~/my/project --find main
"""

import argparse
import keyword
import re
import sysconfig
import time
import tokenize
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

import minray as ray

# Comments and strings are matched so that nothing is found inside of them; only an identifier is captured.
TOKEN = re.compile(
    r"""
    \#[^\n]*
    | [bfrtu]{0,2} (?: \"{3} (?:[^\\]|\\.)*? \"{3} | '{3} (?:[^\\]|\\.)*? '{3} )
    | [bfrtu]{0,2} (?: " (?:[^"\\\n]|\\.)* "       | ' (?:[^'\\\n]|\\.)* ' )
    | \b ([^\W\d]\w*)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

Index = dict[str, dict[str, list[int]]]  # identifier -> file -> line numbers, one for each occurrence
Shares = list[ray.ObjectRef[Index]]
Row = tuple[str, int, int]  # identifier, occurrences, files


def identifiers(source: str) -> Iterator[tuple[str, int]]:
    """Every identifier that is no keyword, with the number of its line."""
    line, counted_to = 1, 0
    for match in TOKEN.finditer(source):
        name = match[1]
        if name and not keyword.iskeyword(name):
            line += source.count("\n", counted_to, match.start())
            counted_to = match.start()
            yield name, line


def index_files(root: Path, files: list[str]) -> tuple[Index, list[str]]:
    """The index of some files, and those that could not be read as Python source."""
    index: Index = {}
    skipped = []
    for file in files:
        try:
            with tokenize.open(root / file) as stream:  # honours the file's own coding declaration
                source = stream.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            skipped.append(file)
            continue
        for name, line in identifiers(source):
            index.setdefault(name, {}).setdefault(file, []).append(line)
    return index, skipped


def share_of(name: str, shares: int) -> int:
    """Which share of the index an identifier belongs to. Not `hash`: that differs from process to process."""
    return zlib.crc32(name.encode()) % shares


def most_frequent(index: Index, count: int) -> list[Row]:
    """The most frequent identifiers, ties in alphabetical order."""
    rows = ((name, sum(map(len, places.values())), len(places)) for name, places in index.items())
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:count]


@ray.remote
def map_files(root: Path, files: list[str], shares: int) -> list[Any]:
    """Index some files; return the skipped ones, then the index cut into `shares` pieces (one object each)."""
    index, skipped = index_files(root, files)
    pieces: list[Index] = [{} for _ in range(shares)]
    for name, places in index.items():
        pieces[share_of(name, shares)][name] = places
    return [skipped, *pieces]


@ray.remote
def reduce_share(*pieces: Index) -> Index:
    """Merge what all map tasks found for one share of the identifiers."""
    merged: Index = {}
    for piece in pieces:
        for name, places in piece.items():
            merged.setdefault(name, {}).update(places)
    return merged


@ray.remote
def top_of_share(share: Index, count: int) -> list[Row]:
    return most_frequent(share, count)


@ray.remote
def look_up(share: Index, name: str) -> dict[str, list[int]]:
    return share.get(name, {})


def python_files(root: Path, limit: int | None) -> list[str]:
    """The source files below `root`, without those that were installed there by others."""
    files = (path.relative_to(root) for path in root.rglob("*.py"))
    return sorted(str(file) for file in files if not {"site-packages", "dist-packages"} & set(file.parts))[:limit]


def build(root: Path, files: list[str], shares: int, chunk: int, in_flight: int) -> tuple[Shares, list[str]]:
    """Run all map tasks, then all reduce tasks; return references to the shares, and the skipped files."""
    chunks = [files[start : start + chunk] for start in range(0, len(files), chunk)]
    map_task = map_files.options(num_returns=1 + shares)
    outputs = []
    pending: dict[ray.ObjectRef[list[str]], int] = {}  # first result of a task under way -> its number of files

    with tqdm(total=len(files) + shares, desc="indexing", unit=" files", leave=False) as progress:

        def wait_for_one() -> None:
            (done,), _ = ray.wait(list(pending))
            progress.update(pending.pop(done))

        for files_of_task in chunks:
            if len(pending) == in_flight:
                wait_for_one()
            outputs.append(map_task.remote(root, files_of_task, shares))
            pending[outputs[-1][0]] = len(files_of_task)
        while pending:
            wait_for_one()

        skipped_files, *columns = zip(*outputs, strict=True)
        index = [reduce_share.remote(*pieces) for pieces in columns]
        unfinished = index
        while unfinished:
            _, unfinished = ray.wait(unfinished)
            progress.update()
    return index, list(chain.from_iterable(ray.get(list(skipped_files))))


def print_table(head: tuple[str, ...], rows: list[Any]) -> None:
    cells = [head, *(tuple(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        print("  " + "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]))
    print()


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")), help="what to index")
    parser.add_argument("--find", nargs="+", default=["OrderedDict", "namedtuple"], help="identifiers to look up")
    parser.add_argument("--top", type=int, default=10, help="how many of the most frequent identifiers to show")
    parser.add_argument("--files", type=int, default=None, help="index only that many files")
    parser.add_argument("--chunk", type=int, default=30, help="files in a map task")
    parser.add_argument("--in-flight", type=int, default=8, help="map tasks under way at the same time")
    parser.add_argument("--shares", type=int, default=4, help="pieces of the index, each made by one reduce task")
    options = parser.parse_args(argv)

    if min(options.chunk, options.in_flight, options.shares) < 1:
        parser.error("--chunk, --in-flight and --shares must be at least 1")

    root = options.root.expanduser().resolve()
    files = python_files(root, options.files)
    if not files:
        parser.error(f"there are no Python source files below {root}")

    with ray.init():
        started = time.perf_counter()
        index, skipped = build(root, files, options.shares, options.chunk, options.in_flight)
        parallel_time = time.perf_counter() - started

        tops = ray.get([top_of_share.remote(share, options.top) for share in index])
        found = ray.get([look_up.remote(index[share_of(name, options.shares)], name) for name in options.find])

        started = time.perf_counter()
        serial_index, serial_skipped = index_files(root, files)
        serial_time = time.perf_counter() - started

        shares = ray.get(index)  # only now: a large heap would have slowed the plain loop down

    top = sorted((row for rows in tops for row in rows), key=lambda row: (-row[1], row[0]))[: options.top]
    whole = {name: places for share in shares for name, places in share.items()}
    same = whole == serial_index and skipped == serial_skipped and top == most_frequent(serial_index, options.top)
    occurrences = sum(len(lines) for places in whole.values() for lines in places.values())

    print(f"{len(files):,} files below {root}, {len(skipped)} of them not readable as Python source.")
    print(f"{len(whole):,} identifiers occur {occurrences:,} times outside of comments and strings.\n")
    print(f"The {len(top)} most frequent identifiers:")
    print_table(("identifier", "occurrences", "files"), top)

    in_all = sorted(set.intersection(*(set(places) for places in found)))
    print(f"Files with {' and '.join(options.find)}: {len(in_all)}")
    print_table(("file", *options.find), [(file, *(len(places[file]) for places in found)) for file in in_all[:10]])

    print(f"The plain loop finds {'the same' if same else 'SOMETHING ELSE'}.")
    print(f"Tasks: {parallel_time:.2f} s. Plain loop: {serial_time:.2f} s. Speed-up: {serial_time / parallel_time:.2f}")
    return {
        "files": len(files),
        "skipped": skipped,
        "identifiers": len(whole),
        "occurrences": occurrences,
        "top": top,
        "found": dict(zip(options.find, found, strict=True)),
        "same_as_serial": same,
    }


if __name__ == "__main__":
    main()
