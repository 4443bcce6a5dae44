"""Which PostgreSQL may be what has become of another."""

from accounts.lineage import Mark, departure, lost_beats

KNOWN = Mark(system_identifier=7, timeline=3, era=5, beat=100)


def test_time_goes_on() -> None:
    assert departure(KNOWN, KNOWN) is None
    assert departure(Mark(7, 3, 5, 101), KNOWN) is None


def test_a_promotion_raises_the_timeline_and_may_have_lost_beats() -> None:
    promoted = Mark(7, 4, 6, 98)
    assert departure(promoted, KNOWN) is None
    assert lost_beats(promoted, KNOWN) == 2
    assert lost_beats(Mark(7, 4, 6, 100), KNOWN) == 0


def test_another_cluster_is_another_cluster_whatever_it_counts() -> None:
    assert "another database cluster" in str(departure(Mark(8, 4, 6, 200), KNOWN))


def test_a_lower_timeline_is_an_earlier_state() -> None:
    assert "timeline is 2" in str(departure(Mark(7, 2, 4, 200), KNOWN))


def test_the_same_timeline_with_an_earlier_beat_has_gone_back() -> None:
    assert "beat 99 and not beat 100" in str(departure(Mark(7, 3, 5, 99), KNOWN))


def test_a_backup_from_before_an_accepted_restore_does_not_know_of_it() -> None:
    assert "older than a restore" in str(departure(Mark(7, 4, 4, 200), KNOWN))
    assert "older than a restore" in str(departure(Mark(7, 5, 5, 200), KNOWN))


def test_ranks_rise_with_beats_and_above_all_with_eras() -> None:
    assert Mark(7, 3, 5, 101).rank > KNOWN.rank
    assert Mark(8, 1, 6, 0).rank > Mark(7, 3, 5, 2**40).rank
