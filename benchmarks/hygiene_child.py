"""One program of hygiene.py, on one system. Run by scenarios/observer.py, which gives it the arguments as JSON.

What it finds it says on a pipe of its own, a line of JSON each; stdout and stderr are the system's, and looked at.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from scenarios import program
from scenarios.pools import find


def main(system: str, name: str, pipe: int, options: dict[str, Any]) -> None:
    os.set_inheritable(pipe, False)
    told = open(pipe, "w", encoding="utf-8", buffering=1)  # to the end, and beyond

    def tell(**facts: Any) -> None:
        told.write(json.dumps(facts) + "\n")

    getattr(program, name)(find(system), tell, **options)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
