"""Train audio-language models from recipes.

The names below are imported when they are first used, so ``import audio_lm`` is instant.

>>> import audio_lm
>>> composed = audio_lm.load_recipe("demo", ["stages.chat.steps=50"])
>>> list(composed.recipe.stages), composed.recipe.stages["chat"].steps
(['language', 'pretrain', 'chat', 'prefer'], 50)
>>> composed.signature == audio_lm.load_recipe("demo").signature
False

Train a recipe whole, with ``train(composed)``; or take its pieces, ``build_model``, ``build_data`` and
``build_module``, and train with a Lightning ``Trainer`` of your own. ``open_run``, ``load_model``, ``predict`` and
``evaluate`` read a run from its folder; ``open_model`` and ``evaluate_model`` take any model folder, and ``ChatSession``
holds a conversation with one. ``Task``, ``MetricRow`` and ``Corpus`` are the rows of an extension (``audio-lm new``).
``view_run`` and ``view_data`` show a run and its data in a notebook.
"""

from importlib import import_module

_MODULE_OF_NAME = {
    "load_recipe": "audio_lm.config.load",
    "train": "audio_lm.run.train",
    "build_model": "audio_lm.run.api",
    "build_data": "audio_lm.run.api",
    "build_module": "audio_lm.run.api",
    "open_run": "audio_lm.run.open",
    "load_model": "audio_lm.run.api",
    "predict": "audio_lm.run.api",
    "evaluate": "audio_lm.run.evaluate",
    "evaluate_model": "audio_lm.run.evaluate_model",
    "BenchmarkOptions": "audio_lm.run.named_benchmarks",
    "open_model": "audio_lm.run.ask",
    "ClipOptions": "audio_lm.run.ask",
    "open_chat_model": "audio_lm.chat.session",
    "ChatSession": "audio_lm.chat.session",
    "ChatOptions": "audio_lm.chat.conversation",
    "SamplingConfig": "audio_lm.model.decoder.sampling",
    "ground": "audio_lm.chat.grounding",
    "Task": "audio_lm.tasks.task",
    "MetricRow": "audio_lm.metrics.registry",
    "SumMetric": "audio_lm.metrics.clip_metric",
    "ListMetric": "audio_lm.metrics.clip_metric",
    "Corpus": "audio_lm.corpora.registry",
    "Facts": "audio_lm.corpora.published.base",
    "CutWriter": "audio_lm.corpora.synthetic.writing",
    "parse_settings": "audio_lm.corpora.settings",
    "export_run": "audio_lm.export.run",
    "ExportSettings": "audio_lm.export.run",
    "view_run": "audio_lm.notebook.view",
    "view_data": "audio_lm.notebook.data_view",
    "AudioLM": "audio_lm.model.audio_lm",
    "MixtureDataModule": "audio_lm.data.datamodule",
    "NextTokenModule": "audio_lm.training.next_token",
}
__all__ = [*_MODULE_OF_NAME]


def __getattr__(name: str) -> object:
    """Import a name of the interface when it is used."""
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module 'audio_lm' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_MODULE_OF_NAME[name]), name)


def __dir__() -> list[str]:
    """Names of the interface."""
    return sorted([*globals(), *__all__])
