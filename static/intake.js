// Everything by which files come in: the chooser, dropping (folders, too) and pasting.

const SOUND = /\.(aac|ac3|aiff?|amr|ape|avi|flac|m4[abv]|mk[av]|mov|mp[234]|mpg|og[ag]|opus|ts|wav|web[am]|wm[av]|wv)$/i;
const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");

/** Calls `take(files)` with what a person chose in this form. */
export function takeChosen(form, take) {
	const input = form.elements.file;
	input.multiple = true; // without scripts a form sends one
	const takeAll = () => {
		const files = [...input.files];
		input.value = ""; // so that the same file can be chosen again
		take(files);
	};
	input.addEventListener("change", takeAll);
	if (input.files.length) takeAll(); // chosen while the task was being loaded
	// Only a larger target for the pointer; the keyboard has the chooser itself.
	form.querySelector(".drop").addEventListener("click", ({ target }) => target.closest("label, button, input") || input.click());
	form.addEventListener("submit", (event) => event.preventDefault()); // by Enter in a field
}

/** Calls `take(files)` with what is dropped anywhere on the page, or pasted. */
export function takeDropped(take) {
	document.addEventListener("paste", ({ clipboardData }) => clipboardData.files.length && take([...clipboardData.files]));
	const show = (isDragging) => document.body.classList.toggle("is-dragging", isDragging);
	document.addEventListener("dragover", (event) => {
		if (!hasFiles(event)) return;
		event.preventDefault();
		show(true);
	});
	// Leaving the window has no element that is entered.
	document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || show(false));
	document.addEventListener("drop", async (event) => {
		if (!hasFiles(event)) return;
		event.preventDefault();
		show(false);
		take(await filesOf(event.dataTransfer));
	});
}

/** All files of a drop, in order; of folders those that look like audio or video. */
async function filesOf({ items }) {
	// Entries have to be taken before the first await: afterwards the drop is empty.
	const entries = [...items].filter(({ kind }) => kind === "file").map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
	return (await Promise.all(entries.map((entry) => (entry instanceof File ? entry : walk(entry, false))))).flat();
}

async function walk(entry, isInFolder) {
	if (entry.isFile) return isInFolder && !SOUND.test(entry.name) ? [] : new Promise((resolve, reject) => entry.file(resolve, reject));
	const reader = entry.createReader();
	const children = [];
	for (let some = [0]; some.length; children.push(...some)) some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
	return (await Promise.all(children.map((child) => walk(child, true)))).flat();
}
