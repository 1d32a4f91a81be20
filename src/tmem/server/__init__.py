"""Memories over HTTP: OpenAI's interface with a memory for each user, and routes of our own to look into it.

Read in this order: ``keys`` (who may ask), ``middleware`` (what is looked at before any route) and ``rate_limit``,
``dependencies`` (whose memory a request is about), ``workers`` (how calls wait for their turn), ``streaming`` (an
answer as it is made) with ``visible`` (what of it can be shown) and ``likelihoods`` (of its tokens), ``sse``,
``routes``, ``mcp_tools``, ``metrics`` (for Prometheus, and the log), ``traces`` (for OpenTelemetry), ``app``.
Needs the extra ``server``, but for the keys.
"""
