"""Memories over HTTP: OpenAI's interface with a memory for each user, and routes of our own to look into it.

Read in this order: ``keys`` (who may ask), ``guard`` (what is looked at before any route) and ``rates``, ``who`` (whose
memory a request is about), ``pool`` (how calls wait for their turn), ``speech`` (an answer as it is made) and
``visible`` (what of it can be shown), ``stream``, ``chats``, ``responses`` and ``memories`` (the routes), ``looking``
(the page), ``tools`` (MCP), ``watch`` (figures and log), ``app``. Needs the extra ``server``, but for the keys.
"""
