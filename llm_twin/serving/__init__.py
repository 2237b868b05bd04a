"""The twin behind HTTP: `twin serve`."""
