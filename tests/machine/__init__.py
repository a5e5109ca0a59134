"""The decision machine: tables of facts and properties of every history."""
