// What is sent: made of a conversation, and nothing else. No page is needed for this.

/** @param {Blob} blob @returns {Promise<string>} */
const dataUrl = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(/** @type {string} */ (reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });

/** The part of a message that holds a file. @param {{name: string, type: string, blob: Blob}} file */
const partOf = async ({name, type, blob}) => {
  const url = await dataUrl(blob);
  if (type.startsWith("image/")) return {type: "image_url", image_url: {url}};
  if (type.startsWith("audio/")) return {type: "input_audio", input_audio: {data: url.split(",")[1], format: type.split("/")[1].replace("mpeg", "mp3").replace("x-", "")}};
  return {type: "file", file: {filename: name, file_data: url}};
};

/** The kind of file, as models name what they read. @param {string} type */
export const modalityOf = (type) => (type.startsWith("image/") ? "image" : type.startsWith("audio/") ? "audio" : "file");

/** The answer that is shown of one that was tried several times. @param {any} message */
export const shown = (message) => message.versions[message.version];

const toMessages = async (message) => {
  if (message.role === "user") {
    const parts = await Promise.all((message.files ?? []).map(partOf));
    return [{role: "user", content: parts.length ? [...(message.text ? [{type: "text", text: message.text}] : []), ...parts] : message.text}];
  }
  if (message.role === "tool") return message.results.map(({id, content}) => ({role: "tool", tool_call_id: id, content}));
  const answer = shown(message);
  const told = {role: "assistant", content: answer.content || (answer.calls.length ? null : answer.refusal)};
  if (answer.details.length) told.reasoning_details = answer.details;
  const whole = answer.calls.filter((call) => call.complete);
  if (whole.length) told.tool_calls = whole.map(({id, name, arguments: text}) => ({id, type: "function", function: {name, arguments: text}}));
  return answer.content || answer.refusal || whole.length ? [told] : [];
};

/**
 * What the files of messages take as they are sent (base64), bytes: every turn sends those of the turns before again.
 * @param {any[]} messages
 */
export const sentBytes = (messages) => messages.flatMap(({files}) => files ?? []).reduce((sum, {blob}) => sum + 4 * Math.ceil(blob.size / 3), 0);

/** A number in a text, or nothing. @param {any} text */
const number = (text) => (text === "" || text === undefined || Number.isNaN(Number(text)) ? undefined : Number(text));

/**
 * Options that are not as they must be, by name.
 * @param {Record<string, any>} options
 */
export const problems = (options) => {
  /** @type {Record<string, string>} */
  const found = {};
  for (const [name, check] of /** @type {[string, (value: any) => boolean][]} */ ([["tools", Array.isArray], ["extra", (value) => value && typeof value === "object" && !Array.isArray(value)]])) {
    if (!options[name]?.trim()) continue;
    try {
      if (!check(JSON.parse(options[name]))) found[name] = name === "tools" ? "must be a JSON list" : "must be a JSON object";
    } catch (error) {
      found[name] = `is not JSON: ${error.message}`;
    }
  }
  return found;
};

/**
 * The body of `POST /chat` for the conversation up to a message.
 * @param {any[]} messages without the one that is to be answered now
 * @param {{model: string, options: Record<string, any>, graceS: number}} how
 */
export const buildBody = async (messages, {model, options, graceS}) => {
  /** @type {Record<string, any>} */
  const body = {...(model && {model}), grace_s: graceS}; // without one, the server's default answers
  const [last] = messages.slice(-1);
  if (messages.length === 1 && last.role === "user" && !last.files?.length) {
    body.message = last.text;
    if (options.system?.trim()) body.system = options.system;
  } else {
    const system = options.system?.trim() ? [{role: "system", content: options.system}] : [];
    body.messages = [...system, ...(await Promise.all(messages.map(toMessages))).flat()];
  }
  const {temperature, max_tokens, reasoning_effort, web_search, providers, tools, extra} = options;
  if (number(temperature) !== undefined) body.temperature = number(temperature);
  if (number(max_tokens) !== undefined) body.max_tokens = number(max_tokens);
  if (reasoning_effort) body.reasoning_effort = reasoning_effort;
  if (web_search) body.web_search = true;
  if (providers?.trim()) body.providers = providers.trim();
  if (tools?.trim()) body.tools = JSON.parse(tools);
  return {...body, ...(last.extra ?? {}), ...(extra?.trim() ? JSON.parse(extra) : {})};
};
