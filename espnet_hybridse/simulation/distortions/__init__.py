"""One distortion a file, each a frozen dataclass, and the grammar that writes them as text."""
