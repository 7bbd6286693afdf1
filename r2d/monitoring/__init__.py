"""Labels that come later: what was decided against how it turned out."""
