"""From weights per task to an order of packs."""
