"""The orlop command: a client of the API, never of the engine."""
