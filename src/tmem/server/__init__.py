"""Memories over HTTP: OpenAI's interface with a memory for each user, and routes of our own to look into it.

Read in this order: ``keys`` (who may ask), ``guard`` (what is looked at before any route), ``who`` (whose memory a
request is about), ``pool`` (how calls wait for the model), ``chats`` and ``memories`` (the routes), ``looking`` (the
page), ``tools`` (MCP), ``app``. Needs the extra ``server``, but for the keys.
"""
