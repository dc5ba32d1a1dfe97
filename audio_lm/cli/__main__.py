"""``python -m audio_lm.cli``, the command line without an installation."""

from audio_lm.cli.main import main

main()
