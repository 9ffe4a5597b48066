// In the head and no module, so that a remembered theme is there before the first paint.
try {
	const remembered = localStorage.getItem("theme");
	if (remembered === "light" || remembered === "dark") document.documentElement.dataset.theme = remembered;
} catch {
	// Storage is off: the system's theme is used.
}
