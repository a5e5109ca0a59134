"""The contract, generated from proto/. Never edited by hand."""
