"""Songs made by rules and sounded by synthesis, each stem apart."""
