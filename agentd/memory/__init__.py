"""What finds memories again: embedders, vectors, words, and how their answers are joined."""
