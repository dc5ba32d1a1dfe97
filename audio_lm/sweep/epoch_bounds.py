"""Largest shares at which no source is repeated more often than the sweep allows (``vary.shares.max_epochs``)."""

from dataclasses import replace

from audio_lm.common.errors import RecipeError
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.space import TOLERANCE

HALVINGS = 20


def with_epoch_bounds(sweep: Sweep) -> Sweep:
    """The sweep with its largest shares lowered, so that the epochs of each task's own sources stay within the limit.

    The number of epochs grows with the share of a task. Where weights count clips, it depends on the other tasks as well;
    the bound is that of the others in the recipe's proportions, and ``Sweep.allows`` checks each point exactly.

    Raises:
        RecipeError: no mixture is left; names the shares.
    """
    space, limit = sweep.shares, sweep.config.vary.shares.max_epochs if sweep.config.vary.shares else None
    if space is None or limit is None:
        return sweep
    high = tuple(
        min(bound, _largest_share(sweep, name, limit))
        for name, bound in zip(space.names, space.high, strict=True)
    )
    named = ", ".join(f"{name} {share:.3g}" for name, share in zip(space.names, high, strict=True))
    crossed = [name for name, low, most in zip(space.names, space.low, high, strict=True) if low > most]
    if sum(high) < 1 - TOLERANCE or crossed:
        raise RecipeError(
            f"max_epochs {limit:g} leaves no mixture: it allows at most {named} of the varied part -- expected largest shares "
            f"that sum to one or more, and are not below min -- raise max_epochs, shorten the budget, or add data"
        )
    return replace(sweep, space=replace(sweep.space, shares=replace(space, high=high)))


def _largest_share(sweep: Sweep, name: str, limit: float) -> float:
    """Largest share of a task or group with which its sources stay within a number of epochs, by bisection."""
    if sweep.varied_epochs(_with_share(sweep, name, 1.0), [name]) <= limit:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_within = sweep.varied_epochs(_with_share(sweep, name, middle), [name]) <= limit
        low, high = (middle, high) if is_within else (low, middle)
    return low


def _with_share(sweep: Sweep, name: str, share: float) -> dict[str, float]:
    """A point with the share of one name, and the others in the recipe's proportions."""
    assert sweep.shares is not None, "shares are varied"
    own = sweep.shares.of_recipe
    others = sum(value for other, value in own.items() if other != name)
    num_others = len(own) - 1
    return {
        other: share if other == name else (1 - share) * (value / others if others else 1 / num_others)
        for other, value in own.items()
    }
