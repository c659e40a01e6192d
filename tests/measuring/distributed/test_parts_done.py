from tfstiff.measuring.distributed.parts_done import PartsDone


def told(done, seconds, total):
    lines, times = [], iter(seconds)
    progress = PartsDone(lines.append, clock=lambda: next(times))
    for count in done:
        progress(count, total)
    return lines


def test_a_line_every_ten_seconds_and_at_the_end():
    lines = told([0, 1, 2, 3, 4, 5], [0, 4, 8, 12, 16, 20], 5)
    assert lines == [
        "Summing 5 parts of the pairs.",
        "3 of 5 parts are done; about 8 s are left.",
        "5 of 5 parts are done.",
    ]


def test_parts_that_were_done_before_do_not_count_for_the_time_left():
    assert told([6, 7], [0, 30], 10) == [
        "Summing 4 parts of the pairs; 6 were before.",
        "7 of 10 parts are done; about 90 s are left.",
    ]
