"""From cuts to packs."""
