// Wires the parts of the page: files in at the top, streams in the list, sound at the bottom.

import { curlCommand, deleteJob, playlistPath, server } from "./api.js";
import { Dock } from "./dock.js";
import { splitName } from "./format.js";
import { takeFiles } from "./intake.js";
import { Jobs, isEnded } from "./jobs.js";
import { List } from "./list.js";
import { $, copy, remember, toast } from "./notice.js";
import { Options } from "./options.js";
import { Player } from "./player.js";
import { Uploads } from "./uploads.js";
import { Watch } from "./watch.js";
import { nameOf, news } from "./words.js";

const jobs = new Jobs();
const uploads = new Uploads();
const player = new Player($("audio"));
new Dock(player);
const options = new Options($("form"), $("outcome"));
const watch = new Watch(jobs, uploads);
const list = new List(jobs, { act, playing: (id) => (player.source?.id === id ? player.isOn : null) });
const wantsDark = matchMedia("(prefers-color-scheme: dark)");
let chosenAgain = null; // the failed job whose file is being chosen anew

function send(files, chosen = options.chosen) {
	for (const file of files) uploads.add(file, chosen);
	if (files.length > 1) toast(`${files.length} files are on their way.`);
}

function play(entry) {
	const { id, job } = entry;
	if (player.source?.id === id && player.state !== "failed") return player.toggle();
	const isGrowing = !isEnded(job);
	const path = playlistPath(id, isGrowing ? "live.m3u8" : "index.m3u8");
	return player.play({ id, path, isGrowing, title: splitName(nameOf(entry))[0], seconds: job.duration_seconds });
}

async function remove({ id, job }) {
	const hadFocus = document.activeElement.closest(".job")?.dataset.id === id;
	if (job) await deleteJob(id); // else the server never heard of it
	if (player.source?.id === id) player.stop();
	jobs.remove(id);
	uploads.forget(id);
	if (hadFocus) $("jobs").focus();
}

async function cancel({ id, upload }) {
	if (["queued", "sending"].includes(upload?.state)) return uploads.cancel(id);
	const job = await deleteJob(id);
	return job && jobs.heard(job);
}

async function retry(entry) {
	if (entry.upload) {
		await remove(entry);
		send([entry.upload.file], entry.upload.options);
	} else {
		chosenAgain = entry;
		$("file").click();
	}
}

function copyCurl(entry) {
	const { quality_profile, codec, bitrate, priority } = entry.job ?? {};
	return copy(curlCommand(entry.upload?.options ?? { quality_profile, codec, bitrate, priority }, nameOf(entry)), "The curl command is copied.");
}

async function act(action, entry) {
	const actions = {
		play,
		cancel,
		retry,
		remove,
		"remove-now": remove,
		curl: copyCurl,
		link: ({ job }) => copy(job.manifest_url ?? job.live_url, "The m3u8 link is copied."),
	};
	try {
		await actions[action](entry);
	} catch ({ message }) {
		toast(`That didn’t work. ${message}`);
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

function jobChanged({ detail: { entry, before } }) {
	// The list as it was found is no news; what changes later is.
	const words = before || entry.upload ? news(entry, before) : "";
	if (words) $("announcer").textContent = words;
	const { id, job } = entry;
	if (job?.status === "Failed") uploads.giveUp(id, job.error);
	if (player.source?.id !== id || !job) return;
	if (entry.state === "failed") player.giveUp("The job failed while it played.");
	else if (entry.state === "cancelled") player.giveUp("The job was cancelled.");
	else player.learn({ isGrowing: !isEnded(job), seconds: job.duration_seconds });
}

function listen() {
	let shownId = null;
	player.addEventListener("change", () => {
		list.refresh(shownId);
		shownId = player.source?.id;
		list.refresh(shownId);
	});
	uploads.addEventListener("change", ({ detail }) => jobs.sending(detail));
	jobs.addEventListener("change", jobChanged);
	for (const [event, words] of [["reachable", "Online"], ["unreachable", "Server not reachable, trying again"]]) {
		server.addEventListener(event, () => {
			$("server").dataset.state = event;
			$("server-text").textContent = words;
		});
	}
	addEventListener("beforeunload", (event) => uploads.isBusy && event.preventDefault());
}

function listenToButtons() {
	wantsDark.addEventListener("change", showTheme);
	$("theme").addEventListener("click", changeTheme);
	$("sample").addEventListener("click", async () => send([(await import("./sample.js")).sampleSong()]));
	$("more").addEventListener("click", () => {
		$("more-fields").hidden = !$("more-fields").hidden;
		$("more").setAttribute("aria-expanded", !$("more-fields").hidden);
	});
	$("file").addEventListener("cancel", () => { chosenAgain = null; });
	takeFiles($("file"), $("drop"), async (files) => {
		if (chosenAgain && files.length) await remove(chosenAgain).catch(() => null);
		chosenAgain = null;
		send(files);
	});
}

listen();
listenToButtons();
showTheme();
await list.load();
watch.arrange();
