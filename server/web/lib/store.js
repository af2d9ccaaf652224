// What is kept in this browser: conversations in IndexedDB, settings in localStorage. The server keeps nothing.
// Without either (private windows) everything lives in memory, and `isKept` says so.

const VERSION = 1;
const NAME = "openrouter-sse-backend";

/** @param {IDBRequest} request @returns {Promise<any>} */
const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Plays IndexedDB for as long as the page is open. */
class Memory {
  isKept = false;
  /** @param {boolean} isNewer whether what is kept here belongs to a newer page */
  constructor(isNewer) {
    this.isNewer = isNewer;
  }
  #all = {conversations: new Map(), messages: new Map()};
  /** @param {string} store @param {any} record */
  async put(store, record) {
    this.#all[store].set(record.id, record);
  }
  async get(store, id) {
    return this.#all[store].get(id);
  }
  async all(store) {
    return [...this.#all[store].values()];
  }
  async of(conversation) {
    return (await this.all("messages")).filter((each) => each.conversation === conversation);
  }
  async remove(store, id) {
    this.#all[store].delete(id);
  }
}

class Disk {
  isKept = true;
  #db;
  constructor(db) {
    this.#db = db;
  }
  #store(name, mode = "readonly") {
    return this.#db.transaction(name, mode).objectStore(name);
  }
  put(store, record) {
    return done(this.#store(store, "readwrite").put(record));
  }
  get(store, id) {
    return done(this.#store(store).get(id));
  }
  all(store) {
    return done(this.#store(store).getAll());
  }
  of(conversation) {
    return done(this.#store("messages").index("conversation").getAll(conversation));
  }
  remove(store, id) {
    return done(this.#store(store, "readwrite").delete(id));
  }
}

/** The store of this browser. A newer page's data is left alone. @returns {Promise<Memory | Disk>} */
export const openStore = async () => {
  try {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      const db = request.result; // version 1; a later one adds here and copies, and removes nothing before it was read back
      db.createObjectStore("conversations", {keyPath: "id"});
      db.createObjectStore("messages", {keyPath: "id"}).createIndex("conversation", "conversation");
    };
    const db = await done(request);
    db.onversionchange = () => db.close(); // a newer page must not wait for this one
    return new Disk(db);
  } catch (error) {
    return new Memory(error?.name === "VersionError");
  }
};

/** Settings and small things, by name. */
export const settings = {
  /** @param {string} name @param {any} [otherwise] */
  get(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`page.${name}`) ?? "null") ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  /** @param {string} name @param {any} value */
  set(name, value) {
    try {
      if (value === undefined) localStorage.removeItem(`page.${name}`);
      else localStorage.setItem(`page.${name}`, JSON.stringify(value));
    } catch {
      // nothing can be kept here
    }
  },
};

/** The token: for this tab, or for this device when that was asked for. */
export const token = {
  get() {
    try {
      return sessionStorage.getItem("token") ?? localStorage.getItem("token") ?? "";
    } catch {
      return kept;
    }
  },
  /** @param {string} value @param {boolean} forDevice */
  set(value, forDevice) {
    kept = value;
    try {
      sessionStorage.removeItem("token");
      localStorage.removeItem("token");
      if (value) (forDevice ? localStorage : sessionStorage).setItem("token", value);
    } catch {
      // in memory then
    }
  },
};
let kept = "";
