// Wires the frame: tasks behind their tabs, files that come in, the theme, and whether the server is there.

import { server } from "./api.js";
import { $ } from "./elements.js";
import { takeDropped } from "./intake.js";
import { remember, toast } from "./notice.js";
import { Playback } from "./playback.js";
import { Tabs } from "./tabs.js";
import { Uploads } from "./uploads.js";

// A task's modules are loaded when its tab is first opened.
const TASKS = {
	stream: () => import("./stream.js"),
	separate: () => import("./separate.js"),
	convert: () => import("./convert.js"),
	extract: () => import("./extract.js"),
};
const shared = { uploads: new Uploads(), playback: new Playback() };
const opened = new Map();
const wantsDark = matchMedia("(prefers-color-scheme: dark)");

async function load(name) {
	const { open } = await TASKS[name]();
	return open(shared);
}

function task(name) {
	if (!opened.has(name)) opened.set(name, load(name));
	return opened.get(name);
}

async function show(name) {
	try {
		await task(name);
	} catch (error) {
		console.error(error);
		toast("This task couldn’t be loaded. Load the page again.");
	}
}

function isDark() {
	const { theme } = document.documentElement.dataset;
	return theme ? theme === "dark" : wantsDark.matches;
}

function showTheme() {
	$("theme").setAttribute("aria-label", isDark() ? "Use the light theme" : "Use the dark theme");
}

function changeTheme() {
	document.documentElement.dataset.theme = isDark() ? "light" : "dark";
	remember("theme", document.documentElement.dataset.theme);
	showTheme();
}

for (const [event, words] of [["reachable", "Online"], ["unreachable", "Server not reachable, trying again"]]) {
	server.addEventListener(event, () => {
		$("server").dataset.state = event;
		$("server-text").textContent = words;
	});
}
wantsDark.addEventListener("change", showTheme);
$("theme").addEventListener("click", changeTheme);
addEventListener("beforeunload", (event) => shared.uploads.isBusy && event.preventDefault());
const tabs = new Tabs($("tabs"), show);
takeDropped(async (files) => (await task(tabs.current)).take(files));
showTheme();
