"""What the driver and its workers say to each other.

A message is a tuple whose first item is one of these numbers. Tuples of plain values, because the hot path makes and
reads one a call: `marshal` writes them without a pickler, and the threads backend hands them over as they are.

Nothing here executes: values travel as opaque `minray.core.value.Value` tuples and are unpickled only by those who
asked for them.
"""

from __future__ import annotations

from typing import Any

Message = tuple[Any, ...]

# -- to a worker --------------------------------------------------------------------------------------------------
RUN = 0  #: (RUN, task id, code key, args, where, dep ids, dep values, num_returns, name, retry, extra)
CALL = 1  #: (CALL, task id, method, args, where, dep ids, dep values, num_returns, name, retry, extra)
CREATE = 2  #: (CREATE, actor id, code key, args, where, dep ids, dep values, name, extra)
CODE = 3  #: (CODE, key, blob, name): a function or class, before its first use
VALUES = 4  #: (VALUES, request, ids, values): the answer to GET
ANSWER = 5  #: (ANSWER, request, error name or None, payload): the answer to any other request
RECALL = 6  #: (RECALL,): hand back every call that you have not begun
STOP = 7  #: (STOP,): end
FREE = 8  #: (FREE, location, lost): bytes that you wrote to the store are not needed any more, or cannot be read
TAKEN = 9  #: (TAKEN, task id, number): so many more items of its stream were taken; -1: it need never wait again
CANCEL = 10  #: (CANCEL, task id): hand this call back if you have not begun it, interrupt it if you have
ENV = 11  #: (ENV, as in terms, json, directory): the runtime environment that is yours for life; before all else
ROOM = 12  #: (ROOM, bytes): so much more memory is yours for values; below 0: give back what you do not use of it
WHERE = 13  #: (WHERE, request): at which line does the call wait that made this GET, WAIT or NEXT?
RESUME = 14  #: (RESUME,): the answer to STALLED, unless several calls run at once: begin what comes after this

# -- from a worker ------------------------------------------------------------------------------------------------
HELLO = 16  #: (HELLO, pid)
DONE = 17  #: (DONE, task id, values, seconds)
FAILED = 18  #: (FAILED, task id, error value, retry, seconds)
CREATED = 19  #: (CREATED, actor id, error value or None, its own repr or "", seconds)
RETURNED = 20  #: (RETURNED, ids): the answer to RECALL, even when empty; and to CANCEL of a call not begun
LOST = 21  #: (LOST, cause): made by the pool, the last one from a worker
TEMPLATE = 22  #: (TEMPLATE, key, pickled template): before its first use
SUBMIT = 23  #: (SUBMIT, first id, template key, args, where, dep ids, id of the call that makes it or 0)
SUBMIT_ACTOR = 24  #: (SUBMIT_ACTOR, request, id, template key, args, where, dep ids, where it is made)
SUBMIT_CALL = 25  #: (SUBMIT_CALL, first id, actor id, method template key, args, where, dep ids, the same)
PUT = 26  #: (PUT, id, value)
#: GET, WAIT and NEXT end with `own`: (call, alone) of the call whose own thread waits, without a time-out, or None. An
#: actor's id stands for its creation. `alone`: no other call of its concurrency group goes on meanwhile.
GET = 27  #: (GET, request, ids, own)
WAIT = 28  #: (WAIT, request, ids, num_returns, block, own): answered with the ready ids
FORGET = 29  #: (FORGET, request): the GET or WAIT timed out; answered with what is ready by now
RELEASE = 30  #: (RELEASE, ((id, count), ...)): references given back
PIN = 31  #: (PIN, id)
KILL = 32  #: (KILL, actor id, no_restart)
FIND = 33  #: (FIND, request, name, namespace): answered with (actor id, pickled template)
ASK = 34  #: (ASK, request, topic, args): a question of any other kind, answered with plain values
EXIT = 35  #: (EXIT,): the actor ends itself
FETCH = 36  #: (FETCH, request, ids, own): as GET, but for a future, for which the call may wait or not
READY = 37  #: (READY, request, id): answered when the object is ready; no call waits for it either
YIELD = 38  #: (YIELD, task id, index, values): a generator's items from number `index` on
NEXT = 39  #: (NEXT, request, stream id, own): answered with ids of its next items; (): none yet; None: none any more
NEED = 40  #: (NEED, request, bytes, spare bytes, first time): memory for values; answered as in `minray.core.memory`
GAVE = 41  #: (GAVE, bytes, asked to): memory for values given back
MOVED = 42  #: (MOVED, object id, location or None): a value was moved to disk, as you said, or could not be
MEASURED = 43  #: (MEASURED, sums as in minray.measures): what programs have counted and measured here
#: (AT, request, line, requests): the answer to WHERE. None: the call does not wait, or something else may end that. It
#: goes on when one of these requests is answered, and not before (those for futures; a thread waits for its own).
AT = 44
GONE = 45  #: (GONE, id, location): the bytes of a stored object are not where they should be
#: (STALLED, task id): an actor's call cannot begin, as an argument of it is gone (GONE came before). It comes back, and
#: so does all that is behind it, where calls run one at a time.
STALLED = 46

NAMES = {value: name for name, value in list(globals().items()) if name.isupper() and isinstance(value, int)}
