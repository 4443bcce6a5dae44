"""A model of the delivery protocol, small enough to try very many schedules of it: which rules are needed, and which schedule shows it.

    python -m tests.faults.model                          the table
    python -m tests.faults.model 6_no_finisher 17         one schedule again

It says nothing about the code, only about the rules. PostgreSQL's transactions and a quorum of the message store are single steps here.
"""
