"""What tests share: sound made in code, the real server as a child process, and a player that listens."""
