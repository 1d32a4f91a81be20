"""An agent of OpenAI Agents that remembers across sessions: ``tmem serve -m persona-nano``, then
``python examples/openai_agents_session.py``.

The agent's model is the server's; its session teaches the memory what the user said, in the same home. Needs
``pip install openai-agents``. Arguments: the server's address, and the home.
"""

import asyncio
import sys

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, SQLiteSession, set_tracing_disabled
from openai import AsyncOpenAI

from tmem import Memory
from tmem.adapters.openai_agents import LearningSession

address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765"
home = sys.argv[2] if len(sys.argv) > 2 else "~/.tmem"
set_tracing_disabled(True)  # the library would send traces to its maker


async def main() -> None:
    client = AsyncOpenAI(base_url=f"{address}/v1", api_key="not needed on this computer")
    model = (await client.models.list()).data[0].id
    agent = Agent(
        name="assistant",
        model=OpenAIChatCompletionsModel(model=model, openai_client=client),
        model_settings=ModelSettings(extra_headers={"X-Tmem-User": "ana"}),
    )
    memory = Memory("persona-nano", home=home).scope(user_id="ana")
    monday = LearningSession(SQLiteSession("monday"), memory, name="Ana")
    await Runner.run(agent, "I live in Lyon. Is that far from Paris?", session=monday)
    print("learned:", [f"{row['question']} {row['answer']}" for row in memory.get_all()])

    friday = LearningSession(SQLiteSession("friday"), memory, name="Ana")  # knows nothing of Monday's items
    print("answer:", (await Runner.run(agent, "Where does Ana live?", session=friday)).final_output)


asyncio.run(main())
