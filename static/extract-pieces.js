// The segments below an extraction's card: how many there are, and the last few, or all of them on demand.

import { place } from "./deck.js";
import { $, setIcon, setText } from "./elements.js";
import { wrong } from "./extract-words.js";
import { clock } from "./format.js";

const FEW = 3;

const spanOf = ({ startSeconds, endSeconds }) => `${clock(startSeconds)} – ${clock(endSeconds)}`;

/** "12 segments, up to 6:00", and what comes next. */
function sentenceOf({ pieces, isOver, isDone, error, step }, isWhole) {
	const count = pieces.length === 1 ? "1 segment" : `${pieces.length} segments`;
	const made = pieces.length ? `${count}, up to ${clock(pieces.at(-1).endSeconds)}` : "";
	if (error) return [made && `${made}.`, ...wrong(error, step.video_files, step.track)].filter(Boolean).join(" ");
	if (isOver) return isDone ? made || "There is no sound in it." : made;
	if (!made) return "The first segment is being made";
	return isWhole ? `Heard in steps: ${made}` : `${made}, and more is coming`;
}

export class Pieces {
	#at;
	#acts;
	#rows = [];
	#walk = null;
	#isAll = false;
	#isWhole = false;
	element;

	/** `acts` are play(piece), goOn(), nameOf(piece) and isOn(piece): what the player does with it, as Playback tells. */
	constructor(acts) {
		this.#acts = acts;
		this.element = $("pieces-template").content.firstElementChild.cloneNode(true);
		this.#at = Object.fromEntries([...this.element.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
		this.#at.listen.addEventListener("click", () => acts.play(this.#walk.pieces[0]));
		this.#at.again.addEventListener("click", () => acts.goOn());
		this.#at.all.addEventListener("click", () => {
			this.#isAll = !this.#isAll;
			this.refresh();
		});
	}

	/** Shows the walk as it is now; without one there is nothing to see. `isWhole`: the file of all of it is ready. */
	update(walk, isWhole) {
		if (walk !== this.#walk) this.#rows = [];
		this.#walk = walk;
		this.#isWhole = isWhole;
		this.refresh();
	}

	refresh() {
		const walk = this.#walk;
		this.element.hidden = !walk || (walk.isOver && !walk.pieces.length && !walk.error);
		if (!walk) return;
		const { pieces, error } = walk;
		for (const piece of pieces.slice(this.#rows.length)) this.#rows.push(this.#row(piece));
		setText(this.#at.said, sentenceOf(walk, this.#isWhole));
		this.#at.listen.hidden = !pieces.length;
		this.#at.again.hidden = !error || error.status < 500; // what the server refuses it will refuse again
		this.#at.all.hidden = pieces.length <= FEW;
		setText(this.#at.all, this.#isAll ? `Show the last ${FEW}` : `Show all ${pieces.length}`);
		const from = this.#isAll ? 0 : pieces.length - FEW;
		pieces.forEach((piece, i) => this.#mark(this.#rows[i], piece));
		// What plays or has the focus isn't taken away.
		place(this.#at.list, this.#rows.filter((row, i) => i >= from || row.contains(document.activeElement) || row.classList.contains("is-current")));
	}

	#mark(row, piece) {
		const isOn = this.#acts.isOn(piece);
		const button = row.querySelector("button");
		row.classList.toggle("is-current", isOn !== null);
		setIcon(button, isOn ? "pause" : "play");
		button.setAttribute("aria-label", `${isOn ? "Pause" : "Play"} segment ${piece.number}, ${spanOf(piece)}`);
	}

	#row(piece) {
		const row = $("piece-template").content.firstElementChild.cloneNode(true);
		const [number, span] = row.querySelectorAll("span");
		const link = row.querySelector("a");
		number.textContent = piece.number;
		span.textContent = spanOf(piece);
		row.querySelector("button").addEventListener("click", () => this.#acts.play(piece));
		Object.assign(link, { href: piece.path, download: this.#acts.nameOf(piece), title: `Download segment ${piece.number}` });
		link.setAttribute("aria-label", link.title);
		return row;
	}
}
