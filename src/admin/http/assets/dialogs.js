// The two dialogs: a password, and "are you sure?".
import { post } from "./api.js";
import { find } from "./dom.js";

let saying;
export function say(text) {
  clearTimeout(saying);
  find("said").textContent = text;
  saying = setTimeout(() => { find("said").textContent = ""; }, 6000);
}

// --- the password ------------------------------------------------------------

let entered = () => {};

// `gate`: there is nothing to see without it.
export function askPassword(note, gate, then) {
  entered = then;
  find("login-note").textContent = note;
  find("login-no").hidden = gate;
  document.documentElement.classList.toggle("gate", gate);
  find("main").hidden = gate;
  if (!find("login").open) {
    find("login-error").textContent = "";
    find("password").value = "";
    find("login").showModal();
    find("password").focus();
  }
}

export function stopAsking() {
  document.documentElement.classList.remove("gate");
  find("main").hidden = false;
  find("login").close();
}

find("login").addEventListener("cancel", (event) => {
  if (find("login-no").hidden) event.preventDefault();
});
find("login-no").addEventListener("click", () => find("login").close());
find("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter ?? find("login-form").querySelector("[type=submit]");
  button.disabled = true;
  find("login-error").textContent = "";
  try {
    await post("login", { password: find("password").value });
    find("password").value = "";
    stopAsking();
    entered();
  } catch (error) {
    find("login-error").textContent = error.status ? error.message : "pgweir does not answer.";
    find("password").select();
  } finally {
    button.disabled = false;
  }
});

// --- actions -----------------------------------------------------------------

const ACTIONS = {
  pause: {
    verb: "Pause", grave: true,
    text: "Transactions under way go on to their end. Then server connections are closed, and clients wait until you resume.",
    done: (on) => `${on}: paused`,
  },
  resume: { verb: "Resume", text: "Clients that wait are served again.", done: (on) => `${on}: resumed` },
  reconnect: {
    verb: "Reconnect",
    text: "Each server connection is closed as soon as its transaction is over, and a new one takes its place.",
    done: (on) => `${on}: reconnecting`,
  },
  flush: {
    verb: "Flush the cache of", all: "Flush the cache", grave: true,
    text: "All remembered answers are forgotten. Until there are new ones, all reads go to the server.",
    done: (on) => `${on}: cache flushed`,
  },
};

let confirmed = null;

export function confirm(name, database, then) {
  const action = ACTIONS[name];
  const on = database ?? "all databases";
  const title = database === null && action.all ? action.all : `${action.verb} ${on}`;
  find("confirm-title").textContent = `${title}?`;
  find("confirm-text").textContent = action.text;
  find("confirm-error").textContent = "";
  find("confirm-yes").textContent = title;
  find("confirm-yes").disabled = false;
  find("confirm-yes").classList.toggle("grave", Boolean(action.grave));
  confirmed = async () => {
    find("confirm-yes").disabled = true;
    try {
      await post(name, database === null ? {} : { database });
      find("confirm").close();
      say(action.done(on));
      then();
    } catch (error) {
      find("confirm-error").textContent = error.status ? error.message : "pgweir does not answer.";
      find("confirm-yes").disabled = false;
    }
  };
  find("confirm").showModal();
  // What is safe is what Enter does.
  find("confirm-no").focus();
}

find("confirm-no").addEventListener("click", () => find("confirm").close());
find("confirm-yes").addEventListener("click", () => confirmed?.());
