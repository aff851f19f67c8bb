"""Many experiments: named recipes, what is done of them, and running the rest. Imports no torch."""
