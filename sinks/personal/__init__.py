"""What was erased stays erased: texts, bodies and rows held to the list."""
