"""Publishing: source units become an immutable TFDS version that anyone can open."""

import warnings

# Beam loads Google's clients, which warn every user that they will drop this Python one day.
warnings.filterwarnings("ignore", category=FutureWarning, module="google")
