"""Caring for memories that last: looking them over, copies, and forms that other programs read."""
