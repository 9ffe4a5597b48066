// The mixer: the stems of one song in rows, played together, also while the song is still being separated.

import { $, setIcon, setText } from "./elements.js";
import { clock, splitName } from "./format.js";
import { Mix } from "./mix.js";
import { loudness } from "./mix-plan.js";
import { MixerKeys } from "./mixer-keys.js";
import { MixerLoop } from "./mixer-loop.js";
import { MixerSeek } from "./mixer-seek.js";
import { StemRow, showFiles } from "./mixer-stem.js";
import { toast } from "./notice.js";
import { archivePath, localPath } from "./separate-api.js";
import { nameOf } from "./separate-words.js";

const VOCALS = "vocals";
const REMOVED = "This track was removed.";
const LOST = "This track is gone from the server.";
const OVER = { failed: "The separation failed while it played.", cancelled: "The separation was cancelled." };

const isStem = ({ is_mix: isMix }) => !isMix;

function tracksOf({ tracks }) {
	const there = tracks.filter((track) => isStem(track) && track.playlist_url);
	return there.map(({ name, playlist_url: playlist, wav_url: wav }) => ({ name, playlist: localPath(playlist), wav: wav && localPath(wav) }));
}

/** "change" tells the id of the song that is played otherwise than before, "close" the one whose mixer was closed. */
export class Mixer extends EventTarget {
	#playback;
	#entry = null;
	#rows = new Map();
	loop = new MixerLoop((from, to) => this.mix.repeat(from, to));
	#seek = new MixerSeek(this);
	/** What plays, or null. */
	mix = null;

	constructor(playback) {
		super();
		this.#playback = playback;
		$("mix-play").addEventListener("click", () => this.toggle());
		$("mix-close").addEventListener("click", () => this.close());
		$("mix-karaoke").addEventListener("click", () => this.#sing());
		$("mix-from").addEventListener("click", () => this.loop.begin(this.mix.time));
		$("mix-to").addEventListener("click", () => this.loop.end(this.mix.time));
		new MixerKeys(this);
		// One sound at a time, and none without its controls in sight.
		playback.addEventListener("change", ({ detail: id }) => playback.isOn(id) && this.mix?.pause());
		addEventListener("hashchange", () => this.mix?.pause());
	}

	/** Whether the song can be heard: true, false, or null when the mixer has another one. */
	isOn(id) {
		return this.#entry?.id === id && this.mix ? this.mix.isOn : null;
	}

	/** Opens a song and starts it; pauses the one that is open, or goes on with it. */
	async play(entry) {
		if (this.#entry?.id === entry.id && this.mix.state !== "failed") return this.toggle();
		this.#open(entry);
		$("mixer").scrollIntoView({ block: "nearest" });
		$("mix-play").focus();
		this.toggle();
		await this.mix.open();
	}

	toggle() {
		if (!this.mix) return;
		if (this.mix.state === "failed") return void this.play(this.#entry);
		if (!this.mix.isOn) this.#playback.of(this.#playback.currentId)?.stop();
		this.mix.toggle();
	}

	seek(seconds) {
		if (!this.mix.seek(seconds)) toast(`That part isn’t separated yet. So far there are ${clock(this.mix.madeSeconds)}, and more is coming.`);
	}

	/** Seconds the song has; while it is separated they are known from the start. */
	get totalSeconds() {
		return this.mix.isWhole ? this.mix.madeSeconds : Math.max(this.#entry.job.duration_seconds ?? 0, this.mix.madeSeconds);
	}

	/** Whether keys are meant for it: the player at the bottom takes them while it has something. */
	get isAtHand() {
		return this.mix !== null && document.documentElement.dataset.task === "separate" && !this.#playback.currentId;
	}

	/** Names of the stems in their order. */
	get names() {
		return [...this.#rows.keys()];
	}

	/** Takes what is known of a song now; of another one than is open it takes nothing. */
	learn(entry) {
		if (this.#entry?.id !== entry.id) return;
		const isAnother = entry.job.created_at !== this.#entry.job.created_at;
		this.#entry = entry;
		if (isAnother) return this.close();
		if (OVER[entry.state]) this.mix.giveUp(OVER[entry.state]);
		for (const { name, removed } of entry.job.tracks) if (removed && this.mix.settingOf(name)) this.mix.drop(name);
		this.#show();
	}

	/** Closes it; where an id is given, only if that song is open. */
	close(id = this.#entry?.id) {
		if (!this.mix || this.#entry.id !== id) return;
		const hadFocus = $("mixer").contains(document.activeElement);
		this.mix.close();
		this.#seek.rest();
		this.mix = this.#entry = null;
		$("mixer").hidden = true;
		this.#tell(id);
		if (hadFocus) this.dispatchEvent(new CustomEvent("close", { detail: id }));
	}

	#open(entry) {
		const before = this.#entry?.id;
		this.mix?.close();
		this.#entry = entry;
		const mix = new Mix(tracksOf(entry.job), entry.job.sample_rate);
		this.mix = mix;
		this.#rows = new Map(entry.job.tracks.filter(isStem).map(({ name }, i) => [name, this.#row(name, i + 1)]));
		$("mix-stems").replaceChildren(...[...this.#rows.values()].map(({ element }) => element));
		setText($("mix-name"), splitName(nameOf(entry))[0]);
		setText($("mix-last"), String(Math.min(6, this.#rows.size)));
		$("mix-karaoke").hidden = !this.mix.settingOf(VOCALS);
		$("mixer").hidden = false;
		this.loop.clear();
		mix.addEventListener("sound", ({ detail: { name, startSample, buffer } }) => this.#rows.get(name).add(startSample, buffer));
		for (const name of ["change", "grown"]) mix.addEventListener(name, () => mix === this.mix && this.#show());
		this.#show();
		if (before && before !== entry.id) this.#tell(before);
	}

	#row(name, number) {
		const adjust = (setting) => this.mix.settingOf(name) && this.mix.adjust(name, setting);
		return new StemRow(name, number, { adjust, seek: (share) => this.seek(share * this.totalSeconds) });
	}

	#sing() {
		this.mix.adjust(VOCALS, { isMuted: !this.mix.settingOf(VOCALS).isMuted });
	}

	#show() {
		const { mix } = this;
		$("mixer").dataset.state = mix.state;
		setIcon($("mix-play"), mix.isOn ? "pause" : "play");
		$("mix-play").setAttribute("aria-label", mix.isOn ? "Pause" : "Play");
		setText($("mix-state"), this.#say());
		$("mix-karaoke").ariaPressed = Boolean(mix.settingOf(VOCALS)?.isMuted);
		this.#showStems();
		this.#showFiles();
		this.#seek.follow();
		this.#tell(this.#entry.id);
	}

	#showStems() {
		const { tracks } = this.#entry.job;
		const settings = [...this.#rows.keys()].filter((name) => !this.mix.lost.has(name)).map((name) => this.mix.settingOf(name)).filter(Boolean);
		for (const [name, row] of this.#rows) {
			const track = tracks.find((each) => each.name === name);
			const setting = this.mix.settingOf(name);
			const lost = track.removed ? REMOVED : !setting || this.mix.lost.has(name) ? LOST : "";
			const isHeard = !lost && loudness(setting, settings) > 0;
			row.show(setting ?? {}, { isHeard, track, lost, fileName: splitName(nameOf(this.#entry))[0] });
			row.stretch(this.totalSeconds);
		}
	}

	#showFiles() {
		const { tracks, archive_url: archive } = this.#entry.job;
		const [song] = splitName(nameOf(this.#entry));
		const mixed = tracks.find((track) => track.is_mix && !track.removed);
		const pathOf = (format) => (mixed?.[`${format}_url`] ? localPath(mixed[`${format}_url`]) : null);
		showFiles($("mix-instrumental"), "the instrumental", pathOf, (format) => `${song} (${mixed.name}).${format}`);
		showFiles($("mix-all"), "all tracks", (format) => archive && archivePath(archive, format), () => `${song}.zip`);
		$("mix-instrumental").hidden = !pathOf("mp3");
		$("mix-all").hidden = !archive;
		$("mix-later").hidden = Boolean(archive) || this.mix.state === "failed";
	}

	#say() {
		const { state, error, isWhole, isCutOff } = this.mix;
		if (state === "failed") return error;
		if (isCutOff && state !== "playing") return "The server can’t be reached. It goes on by itself.";
		if (state === "waiting") return "Waiting for the rest to be separated";
		if (state === "loading") return "Loading";
		return isWhole ? "" : "Can be played while it is being separated";
	}

	#tell(id) {
		this.dispatchEvent(new CustomEvent("change", { detail: id }));
	}
}
