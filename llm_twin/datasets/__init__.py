"""Datasets: the author's own sentences as answers, and requests that they answer."""
