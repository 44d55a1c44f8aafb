"""`Pool`: the standard library's `multiprocessing.Pool` on actors. Ray's `ray.util.multiprocessing`."""

from multiprocessing import JoinableQueue, TimeoutError

from minray.util.multiprocessing.pool import Pool

__all__ = ["Pool", "TimeoutError", "JoinableQueue"]
