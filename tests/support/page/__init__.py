"""The page in a browser: which one (`chromium`), a `visit`, and what the `mixer` gives to hear."""
