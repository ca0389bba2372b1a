"""`agentrec batch`: recommending for all sessions of a file, by one process or by many."""
