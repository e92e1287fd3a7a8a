"""How good sentences are: against references and copied ones, and how sure one may be of them."""
