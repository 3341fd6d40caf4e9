"""The wire: every message that crosses a process, defined once.

`operations` is the table of calls; `spec` what a sandbox is asked to be; `messages` what travels to and from it;
`errors` and `reasons` how things fail; `codec` bytes to structs and back, with errors that name the field.
Everything here imports msgspec and nothing else, so that trainer, gateway and rocklet can all have it.
"""
