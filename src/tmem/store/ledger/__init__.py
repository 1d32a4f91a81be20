"""What people told, in SQLite or Postgres: pairs, versions, receipts; one writer of a scope at a time.

Weights follow from it. Nothing here loads torch.
"""
