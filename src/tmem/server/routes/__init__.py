"""The paths of the server, by whose interface they are: OpenAI's, mem0's, our own, and the page's."""
