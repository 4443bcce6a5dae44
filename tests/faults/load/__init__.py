"""The load of the fault harness: people with devices who keep the client rules, whatever happens to the servers, and write down all they see.

`python -m tests.faults.load` runs it as a process of its own; `console` says how it is spoken to.
"""
