"""A dynamic task graph of matrix tasks: where does a drunkard on a long street spend the night?

The street has a bar at every step, and from each he staggers on to one near by, as chance will have it. Squaring the
matrix of these chances again and again gives his chances after 2, 4, 8, 16 ... moves, until it no longer matters where
he started. The matrix is cut into blocks, every product of two blocks is a task, and the results of tasks are the
arguments of the next ones: the whole graph of a squaring is handed over before any of it is done. How many squarings
it takes is known only from the results, so the graph grows while it runs.

    python examples/matrix.py
    python examples/matrix.py --size 2000 --blocks 5 --stagger 100
"""

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minray as ray

Matrix = NDArray[np.float64]
Blocks = list[list[ray.ObjectRef[Matrix]]]


@ray.remote
def zeros(rows: int, columns: int) -> Matrix:
    return np.zeros((rows, columns))


@ray.remote
def multiply(left: Matrix, right: Matrix, total: Matrix) -> Matrix:
    """`total` + `left` x `right`. The arguments are read-only views of stored objects, so the sum is a new array."""
    return total + left @ right


@ray.remote
def spread(*column_of_blocks: Matrix) -> float:
    """How much the rows of one column of blocks differ: the largest difference within a column of the matrix."""
    column = np.vstack(column_of_blocks)
    return float(np.ptp(column, axis=0).max())


def square(matrix: Blocks, heights: list[int]) -> Blocks:
    """Submit all tasks of matrix x matrix. Returns at once: the blocks are references to what is not computed yet."""
    count = range(len(matrix))
    product = [[zeros.remote(heights[row], heights[column]) for column in count] for row in count]
    for row in count:
        for column in count:
            for inner in count:
                product[row][column] = multiply.remote(matrix[row][inner], matrix[inner][column], product[row][column])
    return product


def drunkard(size: int, stagger: int, seed: int) -> Matrix:
    """The chances to get from each of `size` places to each other in one move: rows that sum to 1.

    A move goes at most `stagger` places to either side; how popular the places are is drawn at random.
    """
    random = np.random.default_rng(seed)
    popularity = random.uniform(0.1, 1.0, size)
    places = np.arange(size)
    reach = np.abs(places[:, None] - places[None, :]) <= stagger
    chances: Matrix = np.where(reach, popularity, 0.0)
    chances /= chances.sum(axis=1, keepdims=True)
    return chances


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", type=int, default=1000, help="places in the street: rows of the matrix")
    parser.add_argument("--blocks", type=int, default=4, help="cut the matrix into that many blocks in each direction")
    parser.add_argument("--stagger", type=int, default=50, help="the longest move")
    parser.add_argument("--tolerance", type=float, default=1e-9, help="stop when the rows differ by less than that")
    parser.add_argument("--seed", type=int, default=1, help="of the random chances")
    options = parser.parse_args(argv)
    if not 1 <= options.blocks <= options.size or options.stagger < 1:
        parser.error("there must be a block, no more blocks than places, and moves of at least one place")

    one_move = drunkard(options.size, options.stagger, options.seed)
    bounds = np.linspace(0, options.size, options.blocks + 1).astype(int)
    heights = np.diff(bounds).tolist()
    print(f"{options.size} places, {options.blocks} x {options.blocks} blocks\n")

    started = time.perf_counter()
    rows_of_blocks = np.split(one_move, bounds[1:-1], axis=0)
    matrix = [[ray.put(block) for block in np.split(rows, bounds[1:-1], axis=1)] for rows in rows_of_blocks]
    squarings, difference = 0, float("inf")
    while difference > options.tolerance:
        matrix = square(matrix, heights)
        squarings += 1
        difference = max(ray.get([spread.remote(*column) for column in zip(*matrix, strict=True)]))
        print(f"after {2**squarings:6} moves the start matters by up to {difference:.1e}")
    first_rows = ray.get(matrix[0])
    after = np.hstack(first_rows)[0]
    task_time = time.perf_counter() - started

    started = time.perf_counter()
    expected = np.linalg.matrix_power(one_move, 2**squarings)[0]
    numpy_time = time.perf_counter() - started
    error = float(np.abs(after - expected).max())

    print("\nHow much of the night he spends in each tenth of the street:")
    tenths = [float(tenth.sum()) for tenth in np.array_split(after, 10)]
    for number, tenth in enumerate(tenths, start=1):
        print(f"  {number:2}  {tenth:6.2%}  {'#' * round(200 * tenth)}")

    same = error < 1e-10
    print(f"\nPlain numpy finds {'the same' if same else f'SOMETHING ELSE, by up to {error:.1e}'}.")
    tasks = squarings * (options.blocks**3 + options.blocks**2 + options.blocks)
    print(f"{tasks} tasks: {task_time:.2f} s. Plain numpy: {numpy_time:.2f} s.")
    return {"squarings": squarings, "tenths": tenths, "tasks": tasks, "same_as_numpy": same}


if __name__ == "__main__":
    main()
