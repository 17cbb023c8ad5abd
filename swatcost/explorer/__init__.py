"""A local page that estimates at once whatever one moves: sliders and lists, the report's numbers and charts.

`choices` says what can be moved, `looking` what the page says for it, `app` how it is laid out and wired, `serving`
who may see it: nobody but this machine.
"""
