"""The weights of a memory: trained from its ledger, kept as files, told apart by digests."""
