"""Pure: what is wanted and what is there → what to do, as values and as bytes."""
