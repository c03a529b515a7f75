"""Places at a backend are shared fairly, and never more than there are."""

from __future__ import annotations

from orchestrator.engine.admission import Admission, Demand, JobLimit


def shared(*demands: Demand, jobs: int | None, hog_factor: int = 1) -> dict[str, int]:
    return Admission({"b": JobLimit(jobs, hog_factor)}).share(demands)


def demand(
    root_id: str, inflight: int, waiting: int, group: str = "", backend: str = "b"
) -> Demand:
    return Demand(root_id, backend, group or root_id, inflight, waiting)


def test_without_a_limit_everybody_gets_all() -> None:
    assert shared(demand("a", 5, 10_000), demand("b", 0, 3), jobs=None) == {"a": 10_000, "b": 3}
    assert Admission().share([demand("a", 0, 7)]) == {"a": 7}


def test_places_in_use_are_not_given_again() -> None:
    assert shared(demand("a", 8, 10), jobs=10) == {"a": 2}
    assert shared(demand("a", 10, 10), jobs=10) == {}
    assert shared(demand("a", 12, 10), demand("b", 0, 1), jobs=10) == {}  # a limit that was lowered


def test_a_small_workflow_is_not_kept_waiting_by_a_large_one() -> None:
    assert shared(demand("large", 95, 10_000), demand("small", 0, 3), jobs=100) == {
        "small": 3,
        "large": 2,
    }


def test_equal_workflows_get_equal_parts() -> None:
    granted = shared(*(demand(name, 0, 1_000) for name in "abcd"), jobs=100)
    assert granted == {"a": 25, "b": 25, "c": 25, "d": 25}


def test_a_group_of_many_workflows_counts_as_one() -> None:
    many = [demand(f"x{i}", 0, 100, group="x") for i in range(9)]
    granted = shared(*many, demand("y", 0, 100), jobs=20)
    assert granted["y"] == 10
    assert sum(granted.values()) == 20
    assert max(count for root, count in granted.items() if root != "y") == 2


def test_a_hog_factor_keeps_places_free_for_others() -> None:
    assert shared(demand("a", 0, 100), jobs=10, hog_factor=2) == {"a": 5}
    assert shared(demand("a", 5, 100), demand("b", 0, 2), jobs=10, hog_factor=2) == {"b": 2}
    assert shared(demand("a", 0, 100), jobs=3, hog_factor=10) == {"a": 1}


def test_backends_have_places_of_their_own() -> None:
    admission = Admission({"b": JobLimit(1), "c": JobLimit(2)})
    granted = admission.share([demand("a", 1, 5), demand("d", 0, 5, backend="c")])
    assert granted == {"d": 2}


def in_turns(*demands: Demand, most: int, jobs: int | None = None) -> dict[str, int]:
    return Admission({"b": JobLimit(jobs).in_turns(most)}).share(demands)


def test_where_jobs_are_served_in_turn_a_large_workflow_is_let_in_by_steps() -> None:
    assert in_turns(demand("a", 0, 10_000), most=1000) == {"a": 1000}
    assert in_turns(demand("a", 1000, 9000), most=1000) == {}
    assert in_turns(demand("a", 901, 9000), most=1000) == {}  # not an array for every few
    assert in_turns(demand("a", 900, 9000), most=1000) == {"a": 100}
    assert in_turns(demand("a", 950, 20), most=1000) == {"a": 20}  # its last ones wait for nobody


def test_a_small_workflow_does_not_wait_for_a_step() -> None:
    shares = in_turns(demand("large", 990, 9000), demand("small", 0, 3), most=1000)
    assert shares == {"small": 3}


def test_many_large_workflows_are_let_in_too() -> None:
    """No step is so large that all wait for ever."""
    shares = in_turns(*(demand(f"w{i}", 0, 500) for i in range(40)), most=1000)
    assert sum(shares.values()) == 1000
    assert set(shares.values()) == {25}


def test_a_limit_of_its_users_is_kept_to_where_jobs_are_served_in_turn() -> None:
    assert in_turns(demand("a", 0, 10_000), most=1000, jobs=400) == {"a": 400}
    assert in_turns(demand("a", 399, 10_000), most=1000, jobs=400) == {"a": 1}
