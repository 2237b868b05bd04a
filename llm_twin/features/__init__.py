"""Features: the author's own words, in passages that can be found again."""
