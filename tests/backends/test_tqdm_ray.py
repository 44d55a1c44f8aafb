"""What `tqdm_ray` draws: once, in the driver, whichever process counts."""

from __future__ import annotations

import time
from typing import Any

import pytest

from minray.experimental import tqdm_ray

both = pytest.mark.parametrize("backend", ["threads", "loky"])


class Screen:
    """What has been written to stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.text = ""
        self._capsys = capsys

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.text!r}"
            time.sleep(0.01)
            self.text += self._capsys.readouterr().err


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str]) -> Screen:
    return Screen(capsys)


def test_a_driver_needs_no_run_to_draw(screen: Screen) -> None:
    bar = tqdm_ray.tqdm(total=4, desc="alone", flush_interval_s=0)
    bar.update(3)
    bar.close()
    screen.wait_for("alone:  75%")


@both
def test_the_bar_of_a_task_is_drawn_in_the_driver(ray: Any, backend: str, screen: Screen) -> None:
    @ray.remote
    def count() -> Any:
        import os

        from minray.experimental import tqdm_ray

        for _ in tqdm_ray.tqdm(range(4), desc="counting", flush_interval_s=0):
            pass
        return os.getpid()

    pid = ray.get(count.remote())
    screen.wait_for("counting: 100%" if backend == "threads" else f"(pid={pid}) counting: 100%")


@both
def test_the_driver_is_told_no_more_often_than_asked_for(ray: Any, backend: str, screen: Screen) -> None:
    bar = tqdm_ray.tqdm(total=1000, desc="seldom", flush_interval_s=1000)
    for _ in range(1000):
        bar.update()
    bar.close()
    screen.wait_for("seldom: 100%")
    assert screen.text.count("seldom:") < 10


def test_printing_leaves_the_bars_alone(capsys: pytest.CaptureFixture[str]) -> None:
    tqdm_ray.safe_print("a", "line", sep="-")
    assert capsys.readouterr().out == "a-line\n"
