"""A local page with sliders and lists that estimates again whenever one moves, with the report's numbers and charts.

`controls` has the controls and the estimate that they ask for, `app` lays the page out and wires it, `serving` serves
it to this machine only.
"""
