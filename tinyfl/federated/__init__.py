"""What the server decides in a round: who takes part, and what becomes of their updates. Arrays in, arrays out."""
