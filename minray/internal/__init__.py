"""Here because programs import it: Ray 2.60 has nothing in its `ray.internal` either (`free` is gone)."""
