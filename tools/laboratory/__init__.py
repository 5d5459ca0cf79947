"""What this project measures itself with: a training step taken apart, counted, and timed beside those of others.

Not part of what is installed. `parity` is a command line, which compares attacks with another implementation's;
`portable` another, which takes a recipe to machines without TensorFlow; `peers` holds the scripts of the others, which
need environments of their own.
"""
