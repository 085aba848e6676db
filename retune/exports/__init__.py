"""Models as folders that their ecosystem opens without Retune, and the proof that they answer as they did here."""
