"""The mathematics of kernel ridge regression in closed form: arrays in, arrays out."""
