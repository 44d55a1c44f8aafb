"""Dask's graphs on Ray: an array, delayed functions and a frame."""

from typing import Any

import dask
import dask.array
import dask.dataframe
import pandas
import ray
from ray.util.dask import disable_dask_on_ray, enable_dask_on_ray, ray_dask_get


@dask.delayed
def add(x: Any, y: Any) -> Any:
    return x + y


def main() -> None:
    ray.init(num_cpus=2)
    numbers = dask.array.arange(10_000, chunks=1000)
    tree = add(add(1, 2), add(3, 4))
    assert tree.compute(scheduler=ray_dask_get) == 10
    frame = pandas.DataFrame({"key": [i % 3 for i in range(300)], "value": range(300)})
    enable_dask_on_ray()
    assert (numbers**2).sum().compute() == sum(i**2 for i in range(10_000))
    sums = dask.dataframe.from_pandas(frame, npartitions=4).groupby("key").value.sum().compute()
    disable_dask_on_ray()
    assert sums.to_dict() == frame.groupby("key").value.sum().to_dict()
    print("the same sums")


if __name__ == "__main__":
    main()
