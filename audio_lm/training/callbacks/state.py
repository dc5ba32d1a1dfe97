"""State of Lightning callbacks inside a checkpoint.

A checkpoint keeps plain values as JSON, so the states are encoded as text. They are read with torch's
restricted unpickler: tensors and plain containers, and no code.

Source: Lightning 2.6, ``checkpoint_connector.py`` (the order of hooks) and ``trainer/call.py``.
"""

import base64
import io
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, Trainer

from audio_lm.common.errors import CheckpointError, UserError


def save_callback_states(trainer: Trainer) -> str:
    """Encode the states of all callbacks and of the module: ``state_dict`` and ``on_save_checkpoint``.

    Raises:
        UserError: a state holds something other than tensors and plain values; names the callback.
    """
    states: dict[str, Any] = {}
    checkpoint: dict[str, Any] = {"global_step": trainer.global_step, "callbacks": states}
    for callback in _callbacks(trainer):
        if state := callback.state_dict():
            states[callback.state_key] = state
            _decode(_encode(state), callback.state_key)
    for callback in _callbacks(trainer):
        before = set(checkpoint)
        callback.on_save_checkpoint(trainer, trainer.lightning_module, checkpoint)
        for key in checkpoint.keys() - before:
            _decode(_encode(checkpoint[key]), callback.state_key)
    trainer.lightning_module.on_save_checkpoint(checkpoint)
    return _encode(checkpoint)


def states_of_earlier_release(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Callback states from plain values of a checkpoint, where releases before 2026-12 kept them."""
    states: dict[str, Any] = {}
    if counts := progress.get("heard"):  # key of an earlier release
        states["MixtureMonitor"] = {"counts": counts}
    if "bad" in progress and "conversations" in progress:
        states["BadAudioMonitor"] = {key: progress[key] for key in ("bad", "conversations")}
    return states


def load_callback_states(
    trainer: Trainer, text: str | None, earlier: Mapping[str, Any] | None = None
) -> list[str]:
    """Restore every callback, and the module, from what ``save_callback_states`` encoded.

    Args:
        text: None in checkpoints of earlier releases.
        earlier: states by key, of callbacks that ``text`` does not know.

    Returns:
        Keys of states whose callback this run does not have.

    Raises:
        CheckpointError: the text is not what was saved.
    """
    checkpoint = {"callbacks": {}} if text is None else _decode(text, "the callbacks")
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("callbacks"), dict):
        raise CheckpointError("the callbacks' states in the checkpoint are damaged; resume from another one")
    known = checkpoint["callbacks"]
    states = checkpoint["callbacks"] = {**(earlier or {}), **known}
    if text is not None:
        trainer.lightning_module.on_load_checkpoint(checkpoint)
        for callback in _callbacks(trainer):
            callback.on_load_checkpoint(trainer, trainer.lightning_module, checkpoint)
    for callback in _callbacks(trainer):
        if callback.state_key in states:
            callback.load_state_dict(states[callback.state_key])
    return sorted(known.keys() - {callback.state_key for callback in _callbacks(trainer)})


def _callbacks(trainer: Trainer) -> list[Callback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks


def _encode(state: Any) -> str:
    file = io.BytesIO()
    torch.save(state, file)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _decode(text: str, name: str) -> Any:
    try:
        return torch.load(
            io.BytesIO(base64.b64decode(text, validate=True)), map_location="cpu", weights_only=True
        )
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).partition("\n")[0] or "it is empty"
        raise UserError(
            f"the state of callback {name!r} cannot be kept in a checkpoint ({reason}) -- tensors and plain values are "
            f"expected -- return those from its state_dict"
        ) from error
