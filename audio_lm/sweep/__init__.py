"""Sweeps: trials of a recipe that differ in their mixture, and the regression, report and proposals made from them."""
