"""A protein's broad function, from its sequence."""
