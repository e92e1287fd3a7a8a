"""Texts: corpora of characters, labelled sentences, pairs of sentences; their vocabularies."""
