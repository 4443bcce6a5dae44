"""How much a store is offered after what it has taken and what it has not."""

from messaging.portions import QUICK_SECONDS, Portion


def test_a_quarter_of_what_was_too_much_and_one_at_least() -> None:
    portion = Portion(400)
    portion.failed(400)
    assert portion.size == 100
    portion.failed(10)
    assert portion.size == 2
    portion.failed(2)
    portion.failed(1)
    assert portion.size == 1


def test_twice_as_much_as_was_taken_quickly_up_to_the_largest() -> None:
    portion = Portion(10)
    portion.failed(1)
    sizes = []
    for _ in range(5):
        portion.taken(portion.size, seconds=0.01)
        sizes.append(portion.size)
    assert sizes == [2, 4, 8, 10, 10]


def test_little_or_slow_work_proves_nothing() -> None:
    portion = Portion(100)
    portion.failed(100)
    portion.taken(2, seconds=0.01)
    portion.taken(25, seconds=QUICK_SECONDS)
    assert portion.size == 25


def test_what_is_refused_is_halved() -> None:
    portion = Portion(100)
    portion.refused(100)
    assert portion.size == 50
    portion.refused(1)
    assert portion.size == 1
