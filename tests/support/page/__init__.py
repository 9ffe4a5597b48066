"""The page in a browser: a `visit`, and what the `mixer` gives to hear."""
