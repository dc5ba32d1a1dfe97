from audio_lm.checkpoints.process_group import Group
from tests.forked import on_ranks, together


def test_a_single_rank_is_a_group_of_one():
    group = Group()
    assert (group.rank, group.size, group.process_group, group.all_gather_object("x")) == (0, 1, None, ["x"])


def test_every_rank_receives_the_objects_of_all():
    def work(number):
        return Group().all_gather_object(f"rank {number}")

    assert on_ranks(2, together(work)) == [["rank 0", "rank 1"]] * 2
