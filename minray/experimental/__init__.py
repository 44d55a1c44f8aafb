"""What Ray calls experimental. `internal_kv`: keys and values that a run shares. `tqdm_ray`: progress bars of tasks."""
