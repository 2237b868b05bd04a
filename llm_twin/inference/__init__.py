"""Answering from what the author wrote: find passages, write or quote from them, say where each comes from."""
