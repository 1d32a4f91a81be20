"""Recorded runs as tables for the terminal, as JSON, and as one offline page with figures."""
