"""What of a mailbox is asked for next: all of a bucket, less where that is too much, more again where it is not."""

from messaging.store.slices import HIGHEST_POSITION, Slice

ALL = Slice.whole(7, after=100)


def narrowed(part: Slice) -> Slice:
    found = part.narrower()
    assert found is not None
    return found


def test_a_slice_comes_back_from_its_bytes() -> None:
    for part in (ALL, narrowed(ALL), ALL.following(last=5000, next_page=b"page", low=100)):
        assert Slice.of(part.packed()) == part


def test_a_page_changes_nothing_but_where_it_goes_on() -> None:
    part = narrowed(ALL)
    paged = part.following(last=5000, next_page=b"page", low=100)
    assert (paged.bucket, paged.after, paged.until, paged.page) == (7, 100, part.until, b"page")
    assert paged.following(last=None, next_page=b"more", low=100).seen == 5000


def test_what_was_read_is_not_read_again_but_for_the_position_of_the_last_row() -> None:
    less = narrowed(ALL.following(last=5000, next_page=b"page", low=100))
    assert (less.after, less.page) == (4999, None)
    assert narrowed(ALL).after == 100


def test_behind_a_narrow_slice_comes_a_wider_one_up_to_the_end_of_the_bucket() -> None:
    part = narrowed(narrowed(ALL))
    while part.until < HIGHEST_POSITION:
        wider = part.following(last=None, next_page=None, low=100)
        assert (wider.bucket, wider.after, wider.width) == (7, part.until, part.width + 1)
        part = wider
    assert part.following(last=None, next_page=None, low=100) == Slice.whole(8, after=100)


def test_a_single_position_is_not_narrowed() -> None:
    part, narrowings = ALL, 0
    while (less := part.narrower()) is not None:
        part, narrowings = less, narrowings + 1
    assert (part.until - part.after, narrowings) == (1, 16)
