"""The vocabulary: specs, states, facts and wishes. Pure data, shared by every layer."""
