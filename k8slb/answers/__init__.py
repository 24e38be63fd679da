"""Questions people ask, answered from the decisions of the layers."""
