"""The commands of the program, one small module a group: arguments in, one call, lines out."""
