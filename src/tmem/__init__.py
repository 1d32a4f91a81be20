"""TMEM: agents that learn while they read."""
