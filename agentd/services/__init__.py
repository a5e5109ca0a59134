"""One file for each service of the contract: check the request, ask the runtime, translate."""
