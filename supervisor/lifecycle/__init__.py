"""Pure: what a container may do next. Ids, names, phases, facts, effects, transition table."""
