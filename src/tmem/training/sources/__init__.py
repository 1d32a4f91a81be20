"""Rows to train theta_0 on: what a text gives, what it answers, and what it does not."""
