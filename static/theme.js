// A classic script in the head, so that a remembered theme is there before the first paint.
try {
  const remembered = localStorage.getItem("theme");
  if (remembered === "light" || remembered === "dark") document.documentElement.dataset.theme = remembered;
} catch {
  // Storage is off in this browser: the system's theme is used.
}
