"""Who starts next: in order, with room made use of, and nobody waiting for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.local.admission import PASSES, Admission, Demand


def drain(admission: Admission) -> list[tuple[str, int]]:
    found = []
    while (job := admission.next()) is not None:
        found.append(job)
    return found


def test_jobs_start_in_order_while_there_is_room() -> None:
    admission = Admission(2, 1000)
    admission.add("a", Demand(1, 100), range(3))
    admission.add("b", Demand(1, 100), range(1))
    assert drain(admission) == [("a", 0), ("a", 1)]
    admission.give_back(Demand(1, 100))
    assert drain(admission) == [("a", 2)]
    admission.give_back(Demand(1, 100))
    assert drain(admission) == [("b", 0)]


def test_memory_counts_as_cores_do() -> None:
    admission = Admission(8, 1000)
    admission.add("a", Demand(1, 600), range(2))
    assert drain(admission) == [("a", 0)]


def test_fractions_of_cores_add_up_to_whole_ones() -> None:
    admission = Admission(1, 1000)
    admission.add("a", Demand(0.1, 1), range(20))
    assert len(drain(admission)) == 10


def test_small_jobs_pass_a_large_one_but_not_for_ever() -> None:
    admission = Admission(4, 1000)
    small, large = Demand(1, 1), Demand(4, 1)
    admission.add("running", small, [0])
    assert drain(admission) == [("running", 0)]
    admission.add("large", large, [0])
    admission.add("small", small, range(10 * PASSES))
    started = drain(admission)
    assert started == [("small", 0), ("small", 1), ("small", 2)]
    passed = len(started)
    while ("large", 0) not in started:  # the machine always has something running
        admission.give_back(small)
        started = drain(admission)
        passed += started.count(("large", 0)) == 0 and len(started)
        assert passed <= PASSES
    assert passed == PASSES
    assert admission.free_cores == 0


def test_what_is_taken_out_never_starts() -> None:
    admission = Admission(1, 10)
    admission.add("a", Demand(1, 1), range(3))
    assert admission.remove("a", 0)
    assert not admission.remove("a", 0)
    assert not admission.remove("a", 7)
    assert not admission.remove("b", 0)
    assert admission.ahead_of("a", 2) == 1
    assert admission.next() == ("a", 1)


def test_a_job_larger_than_the_machine_gets_all_of_it() -> None:
    admission = Admission(2, 100)
    assert admission.clamped(96, 10_000) == Demand(2, 100)


@given(st.lists(st.tuples(st.floats(0.1, 4), st.integers(1, 100), st.integers(1, 5)), max_size=30))
def test_every_job_starts_once_and_the_machine_is_never_overcommitted(
    submissions: list[tuple[float, int, int]],
) -> None:
    admission = Admission(4, 100)
    demands = {}
    for number, (cores, memory, count) in enumerate(submissions):
        demands[str(number)] = Demand(cores, memory)
        admission.add(str(number), demands[str(number)], range(count))
    started: list[tuple[str, int]] = []
    running: list[tuple[str, int]] = []
    while True:
        found = drain(admission)
        started += found
        running += found
        assert sum(demands[name].cores for name, _ in running) <= 4.0001
        assert sum(demands[name].memory_mib for name, _ in running) <= 100
        if not running:
            break
        admission.give_back(demands[running.pop(0)[0]])
    assert sorted(started) == sorted(
        (str(number), index) for number, (_, _, n) in enumerate(submissions) for index in range(n)
    )
