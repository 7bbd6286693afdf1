"""Reviews of decided calls by people: which calls come for review, what was said of them, and the page for it."""
