"""The model of single-base changes outside the protein: its data, networks and verdicts."""
