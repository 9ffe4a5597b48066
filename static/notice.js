// What the page says in passing and what it remembers.

import { $ } from "./elements.js";

let hideTimer = null;

/** Shows a short sentence for a moment, and has it read out. */
export function toast(text) {
	const box = $("toast");
	box.textContent = text;
	box.classList.add("shown");
	clearTimeout(hideTimer);
	hideTimer = setTimeout(() => box.classList.remove("shown"), Math.max(3500, text.length * 60));
}

/** Has it read out. */
export function announce(text) {
	$("announcer").textContent = text;
}

/** Copies, also where the page came by plain HTTP and has no clipboard interface. */
export async function copy(text, said) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		const field = document.createElement("textarea");
		const focused = document.activeElement;
		field.value = text;
		document.body.append(field);
		field.select();
		const isCopied = document.execCommand("copy");
		field.remove();
		focused?.focus();
		if (!isCopied) said = `This browser doesn’t let the page copy. Here it is: ${text}`;
	}
	toast(said);
}

// Storage may be off or full: then choices hold until the page is left.
export function remember(key, value) {
	try {
		localStorage.setItem(key, value);
	} catch { /* forgotten */ }
}

export function recall(key, fallback) {
	try {
		return localStorage.getItem(key) ?? fallback;
	} catch {
		return fallback;
	}
}
