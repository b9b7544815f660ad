"""The parts of the missense model: networks, pre-training, fitting, and what limits a score."""
