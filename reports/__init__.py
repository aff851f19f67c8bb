"""Records -> frames -> statistics -> figures -> pages. Never imports torch."""
