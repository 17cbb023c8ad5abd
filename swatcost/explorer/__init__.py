"""A local page with sliders and lists that estimates again whenever one moves: the report's numbers and charts.

`controls` says what can be moved and what estimate that asks for, `app` lays the page out and wires it, `serving` shows
it to this machine only.
"""
