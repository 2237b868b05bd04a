"""Evaluation: does it sound like the person, and does it make sense? Scores with floor, ceiling, interval."""
