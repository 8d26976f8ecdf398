"""How late changes reach those who follow, and that kills make nobody miss one: two measurements."""
