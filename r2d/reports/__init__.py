"""The look of every report: one base page that needs no network, and the filters by which figures are written."""

from r2d.reports.rendering import render

__all__ = ["render"]
