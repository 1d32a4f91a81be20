"""Memory that lasts: a ledger of pairs, the weights that follow from it, versions, rollback, exact forgetting.

Read in this order: ``ledger`` (``history``: what weights follow from; ``schema`` and ``queries``: tables; ``ledger``:
one scope's, as it is read), ``weights`` (``states``, ``trainer``, ``snapshots``, ``storage``), ``home`` (publishing),
``revise`` (rollback, forgetting), ``actions`` (what the model does), ``view``, ``scoped`` and ``memory`` (the API),
``care`` (doctor, backup, export).

Who only looks at a home needs no torch: nothing here loads it before it is used.
"""
