"""Answers judged by a language model behind an address, and how far such a judge can be trusted."""
