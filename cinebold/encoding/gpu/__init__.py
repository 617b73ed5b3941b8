"""The engine on a torch device."""
