"""The environment host: a process of its own Python that holds environments, so that ours stays free of theirs."""
