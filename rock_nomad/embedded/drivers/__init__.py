"""What runs a task.  Every driver offers the same surface; what it can do is data."""
