// The conversations that this browser keeps: find, open, rename, delete, save, load.

import {button, byId, fill, h, newId, save, toast} from "../lib/dom.js";

const DELAY_MS = 150;
const FORMAT = "openrouter-sse-backend conversation";

/** Opens or closes the list. @param {any} app */
export const toggleList = async (app) => {
  const dialog = byId("list");
  const opener = byId("open-list");
  if (dialog.open) return dialog.close();
  const words = h("input", {type: "search", "aria-label": "Search conversations", placeholder: "Search titles and texts", onInput: () => (clearTimeout(timer), (timer = setTimeout(show, DELAY_MS)))});
  let timer = 0;
  const file = h("input", {type: "file", accept: ".json", hidden: true, "aria-label": "File", onChange: () => load(app, file.files[0])});
  const body = h("div", {});
  fill(
    dialog,
    h("div", {class: "row"}, h("h2", {}, "Conversations"), h("span", {class: "grow"}), button("×", () => dialog.close(), {"aria-label": "Close conversations"})),
    h("p", {class: "row"}, button("New", () => app.newConversation(), {class: "main"}), button("Load…", () => file.click()), file),
    h("p", {}, words),
    body,
  );
  const show = () => showList(app, dialog, body, words);
  app.panels.list = show;
  dialog.addEventListener("close", () => {
    delete app.panels.list;
    opener.setAttribute("aria-expanded", "false");
  }, {once: true});
  opener.setAttribute("aria-expanded", "true");
  if (matchMedia("(max-width: 54rem)").matches) dialog.showModal();
  else dialog.show();
  await show();
};

/** What of a message can be found by its words. @param {any} message */
const textOf = (message) => [message.text, ...(message.versions ?? []).map(({content}) => content), ...(message.results ?? []).map(({content}) => content), ...(message.files ?? []).map(({name}) => name)].join("\n");

/** The conversations in which every word is, in the title or in any text. @param {any} app @param {any[]} conversations @param {string} wanted */
const found = async (app, conversations, wanted) => {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return conversations;
  const texts = new Map(conversations.map(({id, title}) => [id, [title ?? ""]]));
  for (const message of await app.store.all("messages")) texts.get(message.conversation)?.push(textOf(message));
  return conversations.filter(({id}) => {
    const text = texts.get(id).join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  });
};

const showList = async (app, dialog, body, words) => {
  const wanted = words.value;
  const all = (await app.store.all("conversations")).sort((a, b) => b.updatedMs - a.updatedMs);
  const conversations = await found(app, all, wanted);
  if (words.value !== wanted) return; // more was typed meanwhile, and is being looked for
  const open = (conversation) => (event) => {
    event.preventDefault();
    history.replaceState(null, "", `#c=${conversation.id}`);
    app.showChat();
    app.openConversation(conversation.id);
    showList(app, dialog, body, words);
    if (dialog.matches(":modal")) dialog.close();
  };
  const item = (conversation) => {
    const title = conversation.title || "Untitled";
    return h(
      "li",
      {class: conversation.id === app.transcript.conversation?.id ? "here" : ""},
      h("a", {href: `#c=${conversation.id}`, title, onClick: open(conversation)}, title),
      button("✎", () => rename(app, conversation), {"aria-label": `Rename ${title}`}),
      button("⤓", () => saveBoth(app, conversation), {"aria-label": `Save ${title}`}),
      button("✕", () => remove(app, conversation), {"aria-label": `Delete ${title}`}),
    );
  };
  words.parentElement.hidden = all.length < 2 && !wanted;
  fill(
    body,
    wanted.trim() && h("p", {class: "quiet", role: "status"}, `${conversations.length} of ${all.length}`),
    conversations.length ? h("ul", {}, conversations.map(item)) : !all.length && h("p", {class: "quiet"}, "None yet. They are kept in this browser only."),
  );
};

const rename = (app, conversation) => {
  const title = prompt("Name of the conversation", conversation.title);
  if (!title) return;
  conversation.title = title;
  if (app.transcript.conversation.id === conversation.id) app.transcript.conversation.title = title;
  app.keep("conversations", conversation).then(() => app.panels.list?.());
};

const remove = async (app, conversation) => {
  const messages = await app.store.of(conversation.id);
  app.deleted.add(conversation.id);
  await app.store.remove("conversations", conversation.id);
  for (const message of messages) await app.store.remove("messages", message.id);
  if (app.transcript.conversation.id === conversation.id) await app.newConversation();
  app.panels.list?.();
  toast(`"${conversation.title || "Untitled"}" was deleted.`, "Undo", async () => {
    app.deleted.delete(conversation.id);
    await app.keep("conversations", conversation);
    for (const message of messages) await app.keep("messages", message);
    app.panels.list?.();
  });
};

const readAs = (blob) =>
  new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });

/** Blobs as data URLs. */
const packed = async (value) => {
  if (value instanceof Blob) return {$blob: await readAs(value)};
  if (Array.isArray(value)) return Promise.all(value.map(packed));
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([key, each]) => [key, await packed(each)])));
};

const unpacked = (value) => {
  if (typeof value?.$blob === "string") {
    const [head, data] = value.$blob.split(",");
    return new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], {type: /^data:([^;]*)/.exec(head)?.[1] ?? ""});
  }
  if (Array.isArray(value)) return value.map(unpacked);
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unpacked(each)]));
};

const saveBoth = async (app, conversation) => {
  const messages = (await app.store.of(conversation.id)).sort((a, b) => a.n - b.n);
  const name = (conversation.title || "conversation").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
  const whole = {format: FORMAT, version: 1, conversation, messages: await packed(messages)};
  save(`${name}.json`, new Blob([JSON.stringify(whole, null, 1)], {type: "application/json"}));
  save(`${name}.md`, new Blob([markdownOf(conversation, messages)], {type: "text/markdown"}));
};

const markdownOf = (conversation, messages) => {
  const parts = [`# ${conversation.title || "Untitled"}`];
  for (const message of messages) {
    if (message.role === "user") parts.push("## You", message.text, ...(message.files ?? []).map(({name}) => `(file: ${name})`));
    else if (message.role === "tool") parts.push("## Tool results", ...message.results.map(({name, content}) => `${name}: ${content}`));
    else {
      const answer = message.versions[message.version];
      parts.push(`## ${answer.model}`, answer.content || answer.refusal || "(nothing)");
    }
  }
  return `${parts.join("\n\n")}\n`;
};

const load = async (app, file) => {
  try {
    const {format, conversation, messages} = JSON.parse(await file.text());
    if (format !== FORMAT) throw new Error("it was not saved here");
    const id = newId();
    await app.keep("conversations", {...conversation, id, updatedMs: Date.now()});
    for (const message of unpacked(messages)) await app.keep("messages", {...message, id: newId(), conversation: id});
    await app.openConversation(id);
    app.panels.list?.();
  } catch (error) {
    toast(`${file.name} cannot be loaded: ${error.message}`);
  }
};
