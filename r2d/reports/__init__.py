"""What all pages, plots and progress lines share: templates, number formats, one plot style. Knows no domain type."""
