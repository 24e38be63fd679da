"""One layer a file: a question a request meets on its way, answered from the cluster as that place knows it."""
