"""The arithmetic of the benchmarks: a wrong median would be believed."""

import pytest

from benchmarks.figures import Window, middle, percentile


def window(*, seconds: float = 10.0, messages: int = 1000, **cpu: float) -> Window:
    return Window(seconds, messages, messages, sent_p50=1.0, sent_p99=2.0, envelope_p50=3.0, envelope_p99=4.0, cpu=cpu)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0), (0.01, 1.0), (0.0, 1.0)]
)
def test_a_percentile_is_the_nearest_rank_whatever_the_order(share: float, expected: float) -> None:
    values = [float(number) for number in (*range(100, 50, -1), *range(1, 51))]

    assert percentile(values, share) == expected


def test_a_percentile_of_one_value_is_that_value_and_of_none_is_zero() -> None:
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) == 0.0


def test_cpu_per_message_is_in_milliseconds_and_a_group_that_was_not_measured_has_none() -> None:
    measured = window(messages=2000, application=1.0, postgresql=0.5)

    assert measured.rate == 200.0
    assert measured.cpu_ms("application") == 0.5
    assert measured.cpu_ms("cassandra") is None
    assert measured.server_cpu_ms(("application", "postgresql", "cassandra")) == 0.75


def test_a_window_in_which_nothing_arrived_has_no_cost_per_message() -> None:
    assert window(messages=0, application=1.0).cpu_ms("application") is None


def test_the_median_leaves_out_what_was_not_measured() -> None:
    assert middle([3.0, None, 1.0, 100.0]) == 3.0
    assert middle([None]) is None
