"""Tasks: the data that train a row's learner, and the environment that scores its policy."""
