"""Looking at pictures: encoders, and the cache of what a frozen one sees."""
