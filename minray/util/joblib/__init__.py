"""joblib on minray: `register_ray()`, then ``with joblib.parallel_config("ray"):``. Ray's `ray.util.joblib`."""

__all__ = ["register_ray"]


def register_ray() -> None:
    """Make "ray" a backend of joblib, and of what is built on it (scikit-learn's `n_jobs`). Needs joblib."""
    from joblib.parallel import register_parallel_backend

    from minray.util.joblib.ray_backend import RayBackend

    register_parallel_backend("ray", RayBackend)
