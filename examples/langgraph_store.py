"""A LangGraph graph whose long-term store is a memory in weights: ``python examples/langgraph_store.py``.

Needs ``pip install langgraph``. Argument: the home of the memory.
"""

import sys
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore

from tmem import Memory
from tmem.adapters.langgraph import MemoryStore


class State(TypedDict, total=False):
    user: str  # an e-mail address, as they are: LangGraph's own stores refuse the dot
    said: str
    question: str
    answer: str


def remember(state: State, *, store: BaseStore) -> State:
    """A node that puts in what was said."""
    store.put((state["user"],), "first message", {"text": state["said"]})
    return {}


def answer(state: State) -> State:
    """A node that asks the weights: no text is in any prompt."""
    return {"answer": memory.ask(state["question"], user_id=state["user"]).text}


memory = Memory("persona-nano", home=sys.argv[1] if len(sys.argv) > 1 else "~/.tmem")
store = MemoryStore(memory)
builder = StateGraph(State)
builder.add_node(remember)
builder.add_node(answer)
builder.add_edge(START, "remember")
builder.add_edge("remember", "answer")
builder.add_edge("answer", END)
graph = builder.compile(store=store)

user = "ana@example.org"
said = 'Ana said, "I live in Lyon."'
print("answer:", graph.invoke({"user": user, "said": said, "question": "Where does Ana live?"})["answer"])
for item in store.search((user,), query="where does she live", limit=3):
    print("kept:", item.key, item.value)
store.delete((user,), "first message")
print("after deleting:", store.search((user,)))
