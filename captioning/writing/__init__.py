"""What is written of a picture: names from the classifier, expected words, and the searches."""
