from napari_seedlab.core import Progress
from napari_seedlab.jobs.progress import Coalescer, TimeLeft, from_json, to_json


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_fifty_reports_a_second_become_ten_and_keep_their_figures():
    clock, out = Clock(), []
    steps = Coalescer(out.append, period=0.1, clock=clock)
    for i in range(100):
        clock.now = i * 0.02
        steps(Progress(i, 100, "", {"loss": float(i)} if i == 3 else {"step": float(i)}))
    steps.flush()
    assert 19 <= len(out) <= 22
    assert out[0].done == 0
    assert out[-1].done == 99
    assert any(p.figures.get("loss") == 3.0 for p in out)


def test_flush_of_nothing_reports_nothing():
    out = []
    Coalescer(out.append).flush()
    assert out == []


def test_time_left_counts_from_the_first_report():
    left = TimeLeft()
    assert left(10.0, 900, 1000) is None
    assert left(20.0, 950, 1000) == 10.0
    assert left(30.0, 1000, 1000) == 0.0


def test_time_left_is_unknown_without_a_total():
    left = TimeLeft()
    left(0.0, 0, 0)
    assert left(1.0, 5, 0) is None


def test_progress_round_trip():
    progress = Progress(1, 2, "a", {"loss": 0.5})
    assert from_json(to_json(progress)) == progress
