"""PDCNet+: a network that finds where the pixels of one picture are seen in another, and how sure it is of each."""
