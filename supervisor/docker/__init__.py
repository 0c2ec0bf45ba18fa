"""Pure: Docker Engine API JSON to and from Orlop's values."""
