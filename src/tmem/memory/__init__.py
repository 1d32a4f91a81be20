"""Memory policies behind one protocol."""
