from audio_lm.common.env import is_main, rank, world_size


def test_a_single_process_is_the_main_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (rank(), world_size(), is_main()) == (0, 1, True)
    monkeypatch.setenv("RANK", "1")
    assert not is_main()
