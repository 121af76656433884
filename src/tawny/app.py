"""The composition root: builds every object once and runs them in one TaskGroup."""
