"""Publishing: source units become an immutable TFDS version that anyone can open."""

import warnings

# Beam loads Google's clients, which warn that they will stop supporting this Python version.
warnings.filterwarnings("ignore", category=FutureWarning, module="google")
