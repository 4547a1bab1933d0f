"""What a row asks of the runner: the data that feed its learner, and where its policy is scored."""
