"""The decision process: working context, extraction action, prompts.

Read ``context`` (when to write), ``prompts`` (what the model is asked), ``extraction`` (what its reply gave).
"""
