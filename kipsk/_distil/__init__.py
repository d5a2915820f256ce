"""One run of distillation, whatever y is: what is descended on, and the loop that descends."""
