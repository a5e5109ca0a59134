"""How agents reason: pure decision machines that can neither wait nor vary."""
