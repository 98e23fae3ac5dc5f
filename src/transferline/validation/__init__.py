"""Is the generated physics right? Numbers and plots beside what is known."""
