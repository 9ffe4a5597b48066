"""What tests share, and the only place where they do: CONTRIBUTING.md says what lies where."""
