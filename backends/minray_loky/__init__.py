"""The loky backend, the default: every worker is a process of this machine.

pool.py      the driver's side: channels, reading, starting and ending workers
channel.py   one socket, framed, from either end
template.py  the process that workers are forked from; what a worker process runs
spawning.py  how the template is started, by loky
store.py     large values in shared memory: written once, mapped by readers
logs.py      what workers print, on its way to the driver's stdout and stderr
"""

from minray_loky.pool import LokyPool

__all__ = ["LokyPool"]
