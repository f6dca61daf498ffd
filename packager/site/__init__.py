"""At the site: the profile, the installer that a release brings along, the history of a place.

The way from a stick to a served model is one program, `install.sh`, which lies in every release
under its signature (`templates/site/`, ADR 0040). Here is what a site with Python has beside it:
the profile read with all its faults told at once, the program driven and its story understood, the
chain of records checked.
"""
