"""Pure: the runtime spec Orlop runs, and how a create request becomes one."""
