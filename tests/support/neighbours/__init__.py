"""Other servers of this machine, which ours asks or tells something, each as willing as a test wants it.

`canary` is one in the test's event loop, and `origin` one that has a file; `answering` is one in threads of its own.
"""
