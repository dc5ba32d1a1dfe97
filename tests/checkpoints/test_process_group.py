from audio_lm.checkpoints.process_group import Group
from tests.forked import on_ranks, together


def test_alone_is_a_group_of_one():
    group = Group()
    assert (group.rank, group.size, group.process_group, group.all_gather_object("x")) == (0, 1, None, ["x"])


def test_all_ranks_know_what_each_has():
    def work(number):
        return Group().all_gather_object(f"rank {number}")

    assert on_ranks(2, together(work)) == [["rank 0", "rank 1"]] * 2
