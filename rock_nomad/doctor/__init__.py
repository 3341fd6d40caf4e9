"""Is a cluster fit for sandboxes?  What is read of it (`reading`), as values (`facts`), and what follows (`checks`)."""
