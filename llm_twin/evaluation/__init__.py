"""Evaluation: does it sound like the person, and does it make sense? Each score with its floor, ceiling and interval."""
