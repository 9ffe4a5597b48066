// The task "Stream": files become jobs of the server, which are listed and played.

import { TRANSCODE, curlCommand, deleteJob, eventsPath, getJob, listJobs, playlistPath } from "./api.js";
import { $ } from "./elements.js";
import { splitName } from "./format.js";
import { takeChosen } from "./intake.js";
import { Jobs, isEnded } from "./jobs.js";
import { List } from "./list.js";
import { announce, copy } from "./notice.js";
import { StreamOptions } from "./stream-options.js";
import * as words from "./stream-words.js";
import { Watch } from "./watch.js";
import { optionsAfter } from "./words.js";

class Stream {
	#jobs = new Jobs();
	#options = new StreamOptions($("stream-form"));
	#uploads;
	#playback;
	#list;
	#watch;
	#chosenAgain = null; // the failed job whose file is being chosen anew
	#recipient = {
		path: (id, options) => `${TRANSCODE}?${new URLSearchParams({ job_id: id, ...options })}`,
		changed: (upload) => this.#jobs.sending(upload),
		cancel: deleteJob,
		whyBroken: async (id) => (await getJob(id))?.error,
	};

	constructor({ uploads, playback }) {
		this.#uploads = uploads;
		this.#playback = playback;
		this.#watch = new Watch("stream", this.#jobs, { asJob: (job) => job, eventsPath, getJob, listJobs }, () => (uploads.inFlight ? 1 : 3));
		this.#list = new List($("stream-task"), this.#jobs, listJobs, { acts: this.#acts(), words, isOn: (id) => playback.isOn(id) });
		this.#jobs.addEventListener("change", ({ detail: { entry, before } }) => this.#changed(entry, before));
		playback.addEventListener("change", ({ detail: id }) => this.#list.refresh(id));
		$("sample").addEventListener("click", async () => this.take([(await import("./sample.js")).sampleSong()]));
		$("file").addEventListener("cancel", () => { this.#chosenAgain = null; });
		takeChosen($("stream-form"), async (files) => {
			const again = this.#chosenAgain;
			if (again && files.length) await this.#remove(again).catch(() => null);
			this.#chosenAgain = null;
			this.take(files, optionsAfter(again && words.errorOf(again), this.#options.chosen));
		});
	}

	async load() {
		await this.#list.load();
		this.#watch.arrange();
	}

	take(files, options = this.#options.chosen) {
		this.#uploads.add(files, options, this.#recipient);
	}

	#acts() {
		const remove = (entry) => this.#remove(entry);
		return {
			play: (entry) => this.#play(entry),
			cancel: (entry) => this.#cancel(entry),
			retry: (entry) => this.#retry(entry),
			remove,
			"remove-now": remove,
			curl: (entry) => this.#copyCurl(entry),
			link: ({ job }) => copy(job.manifest_url ?? job.live_url, "The m3u8 link is copied."),
		};
	}

	#play(entry) {
		const { id, job } = entry;
		const isGrowing = !isEnded(job);
		const path = playlistPath(id, isGrowing ? "live.m3u8" : "index.m3u8");
		return this.#playback.play({ id, path, isGrowing, title: splitName(words.nameOf(entry))[0], seconds: job.duration_seconds });
	}

	async #remove({ id, job }) {
		const hadFocus = document.activeElement.closest(".job")?.dataset.id === id;
		if (job) await deleteJob(id); // else it is not there
		this.#playback.of(id)?.stop();
		this.#jobs.remove(id);
		this.#uploads.forget(id);
		if (hadFocus) $(this.#jobs.all()[0] ? "jobs" : "file").focus();
	}

	async #cancel({ id, upload }) {
		if (["queued", "sending"].includes(upload?.state)) return this.#uploads.cancel(id);
		const job = await deleteJob(id);
		return job && this.#jobs.heard(job);
	}

	async #retry(entry) {
		if (entry.upload) {
			await this.#remove(entry);
			this.take([entry.upload.file], optionsAfter(words.errorOf(entry), entry.upload.options));
		} else {
			this.#chosenAgain = entry;
			$("file").click();
		}
	}

	#copyCurl(entry) {
		const { quality_profile, codec, bitrate, priority, lost_seconds } = entry.job ?? {};
		const errors = lost_seconds ? "tolerate" : "";
		const options = entry.upload?.options ?? { quality_profile, codec, bitrate, priority, errors };
		return copy(curlCommand("curl", TRANSCODE, options, words.nameOf(entry)), "The curl command is copied.");
	}

	#changed(entry, before) {
		// The list as it was found is no news; what changes later is.
		const news = before || entry.upload ? words.news(entry, before) : "";
		if (news) announce(news);
		const { id, job } = entry;
		if (job?.status === "Failed") this.#uploads.giveUp(id, job.error);
		const player = this.#playback.of(id);
		if (!player || !job) return;
		if (entry.state === "failed") player.giveUp("The job failed while it played.");
		else if (entry.state === "cancelled") player.giveUp("The job was cancelled.");
		else player.learn({ isGrowing: !isEnded(job), seconds: job.duration_seconds });
	}
}

/** Opens the task; what comes in by dropping and pasting goes to `take(files)`. */
export function open(shared) {
	const stream = new Stream(shared);
	stream.load();
	return stream;
}
