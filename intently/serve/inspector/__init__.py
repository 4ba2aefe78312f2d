"""The inspector: pages for people who want to know why an ad was shown, or why not.

The pages are made here, on the server, and work without a script. They only read.
"""
