"""Regressions of one metric on shares: Gaussian process, gradient boosting, log-linear; chosen by rank correlation."""
