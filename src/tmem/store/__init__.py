"""Memory that lasts: a ledger of pairs, the weights that follow from it, versions, rollback, exact forgetting.

Read in this order: ``ledger`` (what weights follow from), ``states`` and ``trainer``, ``schema`` and ``queries``
(tables), ``book`` (a scope's ledger as it is read), ``snapshots`` (files), ``home`` (publishing), ``revise``
(rollback, forgetting), ``actions`` (what the model does), ``view``, ``scoped`` and ``memory`` (the API).

Who only looks at a home needs no torch: nothing here loads it before it is used.
"""
