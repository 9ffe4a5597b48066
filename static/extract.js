// The task "Extract": the sound of films that the server can reach, as one file, and segment by segment meanwhile.

import { $, loadStyle, setText } from "./elements.js";
import * as api from "./extract-api.js";
import { Clips } from "./extract-clips.js";
import { Files } from "./extract-files.js";
import { ExtractOptions } from "./extract-options.js";
import { Pieces } from "./extract-pieces.js";
import { Walks } from "./extract-walks.js";
import * as words from "./extract-words.js";
import { Extractions } from "./extractions.js";
import { splitName } from "./format.js";
import { isEnded } from "./jobs.js";
import { List } from "./list.js";
import { announce, copy, toast } from "./notice.js";
import { Watch } from "./watch.js";
import { optionsAfter } from "./words.js";

const SETTLE_MS = 400;

const pieceId = (id, { number }) => `${id}#${number}`;
const quoted = (text) => `'${text.replace(/'/g, "'\\''")}'`;

class Extract {
	#extractions = new Extractions();
	#walks = new Walks();
	#options = new ExtractOptions();
	#clips = new Clips($("uris"));
	#pieces = new Map();
	#playback;
	#list;
	#watch;
	#looking = new AbortController();
	#settling = null;
	#isStarting = false;
	#startedHere = new Set();

	constructor({ uploads, playback }) {
		this.#playback = playback;
		const { asJob, eventsPath, getJob, listExtractions } = api;
		const most = () => (uploads.inFlight ? 0 : 2); // a walk needs a connection, too
		this.#watch = new Watch("extract", this.#extractions, { asJob, eventsPath, getJob, listJobs: listExtractions }, most);
		const isOn = (id) => playback.isOn(id);
		const manner = { acts: this.#acts(), words, isOn, adorn: (element, id) => this.#adorn(element, id) };
		this.#list = new List($("extract-task"), this.#extractions, listExtractions, manner);
		this.#extractions.addEventListener("change", ({ detail: { entry, before } }) => this.#changed(entry, before));
		this.#walks.addEventListener("change", ({ detail }) => this.#walked(detail));
		playback.addEventListener("change", ({ detail }) => this.#played(detail));
		this.#clips.addEventListener("change", () => this.#lookLater());
		new Files((uris) => this.#clips.add(uris));
		$("extract-form").addEventListener("submit", (event) => {
			event.preventDefault();
			this.#submit();
		});
	}

	async load() {
		await this.#list.load();
		this.#watch.arrange();
	}

	take() {
		toast("Videos are extracted from where they are: paste their links. Files of this computer go to Stream or Convert.");
	}

	#acts() {
		const remove = (entry) => this.#remove(entry);
		return {
			play: ({ id, result: { url, name } }) => this.#playback.play({ id, path: url, isFile: true, title: name }),
			save: () => null, // the link itself does it
			link: ({ job }) => copy(job.audio_file, "The link is copied."),
			cancel: (entry) => this.#cancel(entry),
			retry: (entry) => this.#retry(entry),
			remove,
			"remove-now": remove,
			curl: (entry) => this.#copyCurl(entry),
			segments: ({ id, request }) => this.#walk(id, request),
		};
	}

	async #submit() {
		if (!this.#clips.addTyped()) return $("uris").focus();
		const video_files = this.#clips.uris;
		if (!video_files.length) {
			this.#complain("Add a clip first: paste its address, or choose one from the server.");
			return $("uris").focus();
		}
		if (this.#isStarting) return;
		this.#isStarting = true;
		this.#complain("");
		const request = { video_files, ...this.#options.wanted };
		try {
			await this.#start(request);
		} catch (error) {
			this.#complain(words.wrong(error, video_files, request.track).filter(Boolean).join(" "));
		}
		this.#isStarting = false;
	}

	/** Has it made as a whole, and in segments meanwhile; gives its id. */
	async #start(request) {
		const id = await api.startExtraction(request);
		const job = await api.getJob(id);
		const isKnown = this.#extractions.get(id);
		this.#startedHere.add(id);
		this.#extractions.begin(job, request);
		if (isKnown) toast("This extraction is in the list already.");
		else toast("The extraction has begun.");
		this.#walk(id, request);
		document.querySelector(`.job[data-id="${CSS.escape(id)}"]`)?.scrollIntoView({ block: "nearest" });
		return id;
	}

	#walk(id, request) {
		const segment_seconds = this.#options.segmentSeconds;
		const walk = this.#walks.of(id);
		if (walk && walk.step.segment_seconds !== segment_seconds) this.#walks.forget(id);
		else if (walk?.isOver === false) return;
		this.#walks.start(id, { ...request, segment_seconds });
	}

	#complain(text) {
		setText($("extract-error"), text);
	}

	#lookLater() {
		clearTimeout(this.#settling);
		this.#looking.abort();
		this.#looking = new AbortController();
		setText($("looking"), "");
		this.#complain("");
		this.#options.offer(this.#clips.uris, this.#clips.told);
		const { signal } = this.#looking;
		this.#settling = setTimeout(() => this.#look(signal), SETTLE_MS);
	}

	/** Asks for the tracks of all clips that aren't known yet. One that can't be used doesn't keep the others from it. */
	async #look(signal, asked = this.#clips.unknown) {
		if (!asked.length || signal.aborted) return;
		setText($("looking"), "Looking for the tracks in there");
		try {
			const told = await api.askTracks(asked.map(({ uri }) => uri), signal);
			asked.forEach((clip, i) => this.#clips.learn(clip, { told: told[i] }));
			setText($("looking"), "");
		} catch (error) {
			if (signal.aborted) return;
			await this.#lookPast(error, asked, signal);
		}
		if (!signal.aborted) this.#options.offer(this.#clips.uris, this.#clips.told);
	}

	/** Goes on with the other clips after one that can't be used; where the server doesn't say which, it is asked for each. */
	async #lookPast(error, asked, signal) {
		const { message, status, clip } = error;
		const wrong = asked.length === 1 ? asked[0] : asked[clip];
		if (!(status < 500)) return setText($("looking"), message); // it's the server, not the clip
		setText($("looking"), "");
		if (wrong) this.#clips.learn(wrong, { error: words.sentenceOf(message) });
		if (wrong) return this.#look(signal, asked.filter((each) => each !== wrong));
		for (const each of asked) await this.#look(signal, [each]);
	}

	async #remove({ id }) {
		const hadFocus = document.activeElement.closest(".job")?.dataset.id === id;
		this.#walks.forget(id);
		await api.deleteExtraction(id);
		this.#drop(id);
		if (hadFocus) $(this.#extractions.all()[0] ? "extractions" : "uris").focus();
	}

	#drop(id) {
		this.#playback.of(id)?.stop();
		const playing = this.#playback.currentId;
		if (playing?.startsWith(`${id}#`)) this.#playback.of(playing).stop();
		this.#pieces.delete(id);
		this.#extractions.remove(id);
	}

	async #cancel({ id }) {
		this.#walks.stop(id);
		const job = await api.deleteExtraction(id);
		if (job) this.#extractions.heard(job);
		else this.#drop(id); // it had ended meanwhile
	}

	async #retry({ id, request, job }) {
		if (!request) {
			this.#clips.replace(job.video_files);
			toast("Its addresses are in the list again. What is secret in them is missing; add it, and extract.");
			return $("extract-form").querySelector("[type=submit]").focus();
		}
		// What the advice says to choose is chosen in the form.
		const { on_missing } = this.#options.wanted;
		const newId = await this.#start(optionsAfter(job.error, job.error?.includes("on_missing") ? { ...request, on_missing } : request));
		if (newId === id) return;
		this.#walks.forget(id);
		await api.deleteExtraction(id).catch(() => null);
		this.#drop(id);
	}

	#copyCurl({ job: { video_files, track, format, on_missing }, request }) {
		const body = JSON.stringify(request ?? { video_files, track, format, on_missing });
		return copy(`curl -i -H "Content-Type: application/json" -d ${quoted(body)} ${location.origin}/extract_audio`, "The curl command is copied.");
	}

	#changed(entry, before) {
		// The list as it was found is no news; but what was begun here may have ended before the first look at it.
		const news = before || (this.#startedHere.has(entry.id) && isEnded(entry.job)) ? words.news(entry, before) : "";
		if (news) announce(news);
		// What went wrong with the whole goes wrong with its segments, and is said once.
		if (entry.state === "cancelled" || entry.state === "failed") this.#walks.stop(entry.id);
		this.#arrange(entry.id);
	}

	/** Puts below a new card what other tasks don't have. */
	#adorn(element, id) {
		const item = $("segments-template").content.firstElementChild.cloneNode(true);
		element.querySelector("[data-part=items]").prepend(item);
		const pieces = new Pieces({
			play: (piece) => this.#playPiece(id, piece),
			goOn: () => this.#walks.start(id),
			nameOf: ({ number, path }) => `${splitName(words.nameOf(this.#extractions.get(id)))[0]} ${number}${splitName(path)[1]}`,
			isOn: (piece) => this.#playback.isOn(pieceId(id, piece)),
		});
		element.append(pieces.element);
		this.#pieces.set(id, { pieces, item });
		this.#arrange(id);
	}

	#arrange(id) {
		const { pieces, item } = this.#pieces.get(id) ?? {};
		const { state, request } = this.#extractions.get(id) ?? {};
		const walk = this.#walks.of(id);
		if (!pieces) return;
		item.hidden = Boolean(walk) || !request || state === "failed" || state === "cancelled";
		pieces.update(state === "failed" && !walk?.pieces.length ? null : walk, state === "ready");
	}

	#walked(walk) {
		const { id, pieces } = walk;
		this.#arrange(id);
		const entry = this.#extractions.get(id);
		if (pieces.length === 1 && !walk.isOver) announce(`${words.nameOf(entry)}: the first segment can be heard.`);
		this.#goOn(id);
	}

	#playPiece(id, piece) {
		const title = `${piece.number}: ${words.nameOf(this.#extractions.get(id))}`;
		return this.#playback.play({ id: pieceId(id, piece), path: piece.path, isFile: true, title });
	}

	#played(playedId) {
		const [id, number] = playedId?.split("#") ?? [];
		if (!this.#extractions.get(id)) return;
		if (!number) return this.#list.refresh(id);
		this.#pieces.get(id)?.pieces.refresh();
		this.#goOn(id);
	}

	/** After a segment that has been heard comes the next one, as soon as it is there. */
	#goOn(id) {
		const pieces = this.#walks.of(id)?.pieces ?? [];
		const heard = pieces.findIndex((piece) => this.#playback.of(pieceId(id, piece))?.state === "ended");
		const next = heard >= 0 && pieces[heard + 1];
		if (next) this.#playPiece(id, next);
	}
}

/** Opens the task: its form comes from the server, too, since it does nothing without scripts. */
export async function open(shared) {
	const [page] = await Promise.all([fetch("/static/extract.html"), loadStyle("/static/extract.css")]);
	if (!page.ok) throw new Error(`the form answered ${page.status}`);
	$("extract-task").innerHTML = await page.text();
	const extract = new Extract(shared);
	extract.load();
	return extract;
}
