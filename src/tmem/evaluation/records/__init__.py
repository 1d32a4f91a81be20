"""What a run was and what it gave: its description, a line for each question and episode, a few numbers of all."""
