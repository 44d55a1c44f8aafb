"""Frames of Modin on its Ray engine, which starts Ray by itself."""

import os
import tempfile

os.environ["MODIN_ENGINE"] = "ray"
os.environ["MODIN_CPUS"] = "2"

import modin.config
import modin.pandas as pd
import numpy as np
import pandas
import pytest


def main() -> None:
    rng = np.random.default_rng(0)
    plain = pandas.DataFrame(rng.normal(size=(2000, 64)), columns=[f"c{i}" for i in range(64)])
    plain["key"] = rng.integers(0, 7, len(plain))
    names = pandas.DataFrame({"key": range(7), "name": list("abcdefg")})
    frame = pd.DataFrame(plain)
    assert modin.config.Engine.get() == "Ray"
    partition = frame._query_compiler._modin_frame._partitions[0, 0]
    assert type(partition).__name__ == "PandasOnRayDataframePartition"

    def same(computed: pd.DataFrame, expected: pandas.DataFrame) -> None:
        pandas.testing.assert_frame_equal(computed._to_pandas(), expected)

    same(frame.groupby("key").sum(), plain.groupby("key").sum())
    same(frame.groupby("key").agg(["mean", "max"]), plain.groupby("key").agg(["mean", "max"]))
    same(frame.map(lambda x: 2 * x), plain.map(lambda x: 2 * x))
    same(frame.sort_values("c0"), plain.sort_values("c0"))
    same(frame.merge(pd.DataFrame(names), on="key"), plain.merge(names, on="key"))
    same(frame[frame["c0"] > 0].describe(), plain[plain["c0"] > 0].describe())
    same(frame.T, plain.T)
    path = os.path.join(tempfile.mkdtemp(dir=os.getcwd()), "frame.csv")
    plain.to_csv(path, index=False)
    same(pd.read_csv(path), pandas.read_csv(path))
    with pytest.raises(ZeroDivisionError):
        frame.apply(lambda row: 1 / 0, axis=1)._to_pandas()
    print("agrees with pandas")


if __name__ == "__main__":
    main()
