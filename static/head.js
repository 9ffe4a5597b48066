// In the head and no module: what a remembered theme and the address say holds before the first paint.
document.documentElement.dataset.task = location.hash.slice(1) || "stream";
try {
	const remembered = localStorage.getItem("theme");
	if (remembered === "light" || remembered === "dark") document.documentElement.dataset.theme = remembered;
} catch {
	// Storage is off: the system's theme is used.
}
