"""What people told, in SQLite: pairs, versions and receipts; one writer of a scope at a time. Weights follow from it.

Nothing here loads torch.
"""
