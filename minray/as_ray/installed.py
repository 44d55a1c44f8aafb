"""Importing this module makes minray take Ray's place: `minray.install_as_ray` does, and every worker of its runs."""

import sys

from minray.as_ray.finder import Finder

sys.meta_path.insert(0, Finder())
