// Wires the frame: tasks behind their tabs, files that come in, the theme, and whether the server is there.

import { knock, server } from "./api.js";
import { $ } from "./elements.js";
import { takeDropped } from "./intake.js";
import { recall, remember, toast } from "./notice.js";
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
const LOAD_AGAIN_MS = 10_000;
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
		toast("This task couldn’t be loaded. It comes when the server is back.");
		server.addEventListener("reachable", loadAnew, { once: true });
		knock().then(loadAnew, () => null);
	}
}

// A module that couldn't be fetched isn't fetched again by every browser; by a new page it is. But not again and again,
// should something else be wrong with it.
function loadAnew() {
	const isTooSoon = Date.now() - Number(recall("loaded anew", 0)) < LOAD_AGAIN_MS;
	if (isTooSoon || shared.uploads.isBusy) return;
	remember("loaded anew", Date.now());
	location.reload();
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
