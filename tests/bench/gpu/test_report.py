from audio_lm.bench.gpu.report import markdown


def part(name, **figures):
    return {"name": name, "title": name, "status": "done", "seconds": 1.0, "why": "", "figures": figures}


def page(*parts):
    return markdown({"parts": parts, "has_gpu": True, "is_rehearsal": False})


def test_a_page_without_figures_has_the_states_only():
    assert page(part("machine"), part("encoder")).count("##") == 0


def test_a_step_without_later_figures_is_a_row_with_gaps():
    text = page(part("encoder", ours_s=1.5, peer_batch=8, weights={"encoder": 637_000_000}))
    assert "| encoder | eager | 1.5 | - | - | - | - (batch 8) | - | - |" in text
    assert "encoder 0.637 B" in text


def test_a_whole_step_has_ratios_memory_and_differences():
    text = page(
        part(
            "llm",
            ours_s=1.0,
            theirs_s=2.5,
            ratio=2.5,
            compiled_s=0.8,
            compiled_ratio=3.1,
            compiled_mfu_of_peak=0.41,
            peer_batch=8,
            peak_bytes=2**30,
            planned_bytes=2**29,
            loss_difference=1e-4,
            gradient_difference=1e-2,
            largest_difference=0.2,
            largest_in="k_proj.bias",
        )
    )
    assert "41.0 %" in text
    assert "3.1" in text
    assert "peak above the weights 1.00 GiB, planned 0.50 (50 %)" in text
    assert "`k_proj.bias`" in text


def test_a_step_that_does_not_fit_is_stated():
    assert "does not fit the memory" in page(
        part("encoder", ours_s=1.0, theirs_s=None, ratio=None, peer_batch=8)
    )


def test_the_loader_is_compared_with_the_steps():
    steps = part("encoder", eager_audio_s_per_s=300.0), part("llm", eager_audio_s_per_s=900.0)
    text = page(*steps, part("loader", workers_1_audio_s_per_s=250.0, workers_2_audio_s_per_s=500.0))
    assert "encoder reads 300 audio-s/s: 2 workers suffice" in text
    assert "llm reads 900 audio-s/s: no number of workers" in text


def test_tests_that_failed_are_listed():
    text = page(part("tests", passed=3, skipped=1, failed=["tests/a.py::test_b"], files=2))
    assert "3 passed, 1 failed, 1 skipped, in 2 files." in text
    assert "`tests/a.py::test_b`" in text


def test_the_demo_has_its_command_and_output():
    text = page(
        part("demo", command="audio-lm train demo", exit_code=0, seconds=9.0, finished=["chat"], output=["x"])
    )
    assert "    audio-lm train demo" in text
    assert "finished stages: chat" in text
