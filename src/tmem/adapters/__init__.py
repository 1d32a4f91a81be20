"""Memories in other libraries' own shapes: LangGraph's store, OpenAI Agents' session.

Each module needs its library, which nothing else here does; import it by name (``from tmem.adapters.langgraph import
MemoryStore``). Clients of ``tmem serve`` need none of them.
"""
