"""What y stands for, how rows are divided, and which rows a support set starts from."""
