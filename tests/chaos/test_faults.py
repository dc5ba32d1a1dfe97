"""A rank with an error ends all ranks at once with its message; the same error twice ends the job."""

import time

import pytest

from tests.chaos.cluster import Cluster, json_of, lines_of


@pytest.mark.chaos
def test_the_same_error_at_the_same_step_ends_the_job_and_names_the_clips(chaos_folder, record_property):
    plan = [{"kind": "raise", "moment": "step", "stage": "pretrain", "step": 4, "rank": 1, "always": True}]
    with Cluster(chaos_folder / "fault", chaos_folder / "data", plan=plan) as cluster:
        cluster.start()
        codes = cluster.wait()
        ended = time.time()
    reason, faults, log = cluster.exit_reason(), cluster.injected(), cluster.log()
    assert all(codes)
    assert len(faults) == 2, "one restart, and no more"
    assert (reason["reason"], reason["exit_code"], reason["rank"], reason["step"]) == ("fault", 1, 1, 4), (
        reason
    )
    clips = json_of(cluster.out / "errors" / "rank-1.json")["clip_ids"]
    assert clips
    assert all(clip in reason["sentence"] for clip in clips)
    others = (cluster.folder / "node-0.log").read_text()
    assert "rank 1 in step 4 of stage 'pretrain': RuntimeError: chaos in a step" in others
    assert "The last attempt ended with the same error" in log
    record_property("ended after", f"{ended - faults[-1]['time']:.1f} s")
    assert ended - faults[-1]["time"] < 60
    restarted = min(
        float(line["time"])
        for line in lines_of(cluster.folder / "clips-1.jsonl")
        if line["time"] > faults[0]["time"]
    )
    record_property("training again after", f"{restarted - faults[0]['time']:.1f} s")


@pytest.mark.chaos
def test_a_rank_that_hangs_forever_at_one_step_ends_the_job(chaos_folder, record_property):
    plan = [{"kind": "hang", "moment": "step", "stage": "pretrain", "step": 8, "rank": 0, "always": True}]
    with Cluster(chaos_folder / "hang", chaos_folder / "data", frozen=10, plan=plan) as cluster:
        cluster.start()
        codes = cluster.wait()
    reason, faults = cluster.exit_reason(), cluster.injected()
    assert all(codes)
    assert (reason["reason"], reason["step"]) == ("fault", 8), reason
    assert len(faults) == 2
    error = json_of(cluster.out / "errors" / "rank-0.json")
    assert "inject_now" in error["trace"], "the traceback shows where it hangs"
