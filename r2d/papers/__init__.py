"""Papers to hand in: checklists, model card, hazard log and technical file, filled from the facts of a version."""
