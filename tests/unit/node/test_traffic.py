"""Counting what goes over connections."""

from sheaf.node.traffic import Traffic


def test_bytes_are_counted_per_connection_and_over_all() -> None:
    everything = Traffic()
    one, other = Traffic(of_all=everything), Traffic(of_all=everything)
    one.sent(10)
    one.received(5)
    other.received(7)
    assert (one.sent_bytes, one.received_bytes) == (10, 5)
    assert (everything.sent_bytes, everything.received_bytes) == (10, 12)


def test_a_turn_is_an_answer_after_we_spoke() -> None:
    traffic = Traffic()
    traffic.received(1)
    assert traffic.turns == 0
    traffic.sent(1)
    traffic.sent(1)
    traffic.received(1)
    traffic.received(1)
    assert traffic.turns == 1
    traffic.sent(1)
    traffic.received(1)
    assert traffic.turns == 2


def test_counting_anew_keeps_the_sum() -> None:
    everything = Traffic()
    one = Traffic(of_all=everything)
    one.sent(10)
    one.restart()
    one.received(3)
    assert (one.sent_bytes, one.received_bytes, one.turns) == (0, 3, 0)
    assert (everything.sent_bytes, everything.received_bytes) == (10, 3)
