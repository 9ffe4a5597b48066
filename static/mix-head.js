// The playing head: hands the sound of all stems to an AudioContext in advance, and knows what is heard at each moment
// of its clock. Samples are of the song, frames of that clock; both go by the same rate.

const LEAD_SECONDS = 0.04; // from a decision to its sound
const CLOSE_SECONDS = 0.01; // too close to begin on time
const FADE_SECONDS = 0.01; // no clicks

export class Head {
	#context;
	#inputs;
	#gate; // shut for a moment where the sound jumps
	#takes = []; // what was handed over: {frame, sample, length, sources}
	/** Where it goes on: the sample that comes next, and the frame at which it does. */
	next = { sample: 0, frame: 0 };

	/** Plays stems of these names into `output`. */
	constructor(context, names, output) {
		this.#context = context;
		this.#gate = context.createGain();
		this.#gate.connect(output);
		this.#inputs = new Map(names.map((name) => [name, context.createGain()]));
		for (const input of this.#inputs.values()) input.connect(this.#gate);
	}

	/** The clock, in frames. */
	get now() {
		return Math.round(this.#context.currentTime * this.#context.sampleRate);
	}

	/** The sample that is heard now. */
	get sample() {
		return this.#sampleAt(this.now);
	}

	/** Whether anything is heard now or in a moment. */
	get isHeard() {
		return this.#takes.length > 0 && this.now < this.next.frame;
	}

	/** How long what was handed over will last. */
	get secondsAhead() {
		return (this.next.frame - this.now) / this.#context.sampleRate;
	}

	/** Makes a stem so loud, without a click. It plays on unheard at 0, so that it stays where the others are. */
	level(name, gain) {
		this.#inputs.get(name).gain.setTargetAtTime(gain, this.#context.currentTime, FADE_SECONDS / 2);
	}

	/** Goes on at another sample, with a short silence between. */
	jump(sample) {
		const { gain } = this.#gate;
		const { currentTime, sampleRate } = this.#context;
		const frame = this.#soon();
		gain.cancelScheduledValues(currentTime);
		gain.setTargetAtTime(0, currentTime, FADE_SECONDS / 5);
		gain.setValueAtTime(0, frame / sampleRate);
		gain.linearRampToValueAtTime(1, frame / sampleRate + FADE_SECONDS);
		this.#stop(frame - 1);
		this.#takes = [];
		this.next = { sample, frame };
	}

	/** Takes back what comes in a moment, so that it can be planned anew; what is heard goes on without a joint. */
	splice() {
		const frame = this.#soon();
		const sample = this.#sampleAt(frame);
		this.#stop(frame);
		this.#takes = this.#takes.filter((take) => take.frame < frame);
		for (const take of this.#takes) take.length = Math.min(take.length, frame - take.frame);
		this.next = { sample, frame };
	}

	/** Stops, and stays where it is. */
	halt() {
		this.jump(this.sample);
	}

	/** Hands over a span, as spanAt tells it, of `sounds` {name: AudioBuffer}; it is the one at `next`. */
	give(span, sounds) {
		const { sample } = this.next;
		const [frame, sources] = this.#start(span, sounds);
		const whole = Math.max(...Object.values(sounds).map(({ length }) => length)) - span.offset;
		const length = span.isCut ? span.length : whole; // to the very end, whatever the playlist's digits say
		const { now } = this;
		this.#takes = [...this.#takes.filter((take) => take.frame + take.length > now), { frame, sample, length, sources }];
		this.next = { sample: span.next, frame: frame + length };
	}

	/** Starts all stems at the same frame: the one where the span before ends, or a little later after a wait. */
	#start(span, sounds) {
		for (let { frame } = this.next; ; frame = this.#soon()) {
			if (frame <= this.now + CLOSE_SECONDS * this.#context.sampleRate) frame = this.#soon();
			const sources = Object.entries(sounds).map(([name, buffer]) => this.#source(name, buffer, span, frame));
			// If the page was held up for so long, some may have begun late, and apart from the others.
			if (this.now < frame) return [frame, sources];
			for (const source of sources) source.stop();
		}
	}

	#source(name, buffer, { offset, length, isCut }, frame) {
		const { sampleRate } = this.#context;
		const source = new AudioBufferSourceNode(this.#context, { buffer });
		source.connect(this.#inputs.get(name));
		source.start(frame / sampleRate, offset / sampleRate, ...(isCut ? [length / sampleRate] : []));
		return source;
	}

	#sampleAt(frame) {
		const take = this.#takes.findLast((each) => each.frame <= frame);
		return take ? take.sample + Math.min(frame - take.frame, take.length) : (this.#takes[0]?.sample ?? this.next.sample);
	}

	/** The first frame for which there is time enough: the context computes some in advance. */
	#soon() {
		return this.now + Math.ceil((LEAD_SECONDS + 2 * (this.#context.baseLatency ?? 0)) * this.#context.sampleRate);
	}

	#stop(frame) {
		for (const { sources } of this.#takes) for (const source of sources) source.stop(Math.max(0, frame) / this.#context.sampleRate);
	}
}
