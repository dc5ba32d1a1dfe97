"""Tasks: the questions and answers that a model is trained and evaluated on."""
