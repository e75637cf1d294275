// What a contributor sees of his devices, and the two things that he can sign here: revoke one, leave.

import { ask, byId, day, element, notice, onPress, openPool, short } from "/page/pool.js";
import { offerWallets } from "/page/wallet.js";

const LOOK_EVERY_MS = 3000;
const DEVICE = {
  registered: ["May work", "is-good"],
  waiting: ["Waiting for the pool", "is-wait"],
  refused: ["Refused", "is-bad"],
  removed: ["Removed", "is-bad"],
  unknown: ["Unknown", "is-wait"],
};
const CONTRIBUTOR = {
  admitted: ["In the pool", "is-good"],
  waiting: ["Waiting for approval", "is-wait"],
  suspended: ["Suspended", "is-bad"],
  draining: ["Leaving", "is-wait"],
  left: ["Has left", "is-bad"],
  unknown: ["Not in the pool", "is-wait"],
};

let wallet = null;
let shown = "";
let looking = null;

start().catch((error) => notice(error.message));

async function start() {
  const pool = await openPool();
  if (pool === null) return;
  byId("join-command").textContent = `millpond agent join ${location.origin}`;
  onPress(byId("sign-out"), async () => {
    await ask("DELETE", "/wallet/sessions");
    leaveInside();
  });
  onPress(byId("leave"), leave);
  offerWallets(pool, enter);
  await look().catch((error) => {
    if (error.status !== 401) throw error;
    leaveInside();
  });
}

async function enter(chosen) {
  await chosen.connect();
  await chosen.signIn();
  wallet = chosen;
  chosen.provider.on?.("accountsChanged", () => {
    if (chosen !== wallet) return;
    wallet = null;
    notice("The wallet has changed its account. Connect it again.", false);
    look().catch(leaveInside);
  });
  await look();
}

// Shows how things are, now and every few seconds, until the session is over.
async function look() {
  const own = await ask("GET", "/wallet/devices");
  clearTimeout(looking);
  entrance("Connect your wallet", "To revoke a device, or to leave.");
  byId("entrance").hidden = wallet !== null;
  show(own);
  looking = setTimeout(() => look().catch((error) => {
    if (error.status === 401) return leaveInside();
    notice(error.message);
    looking = setTimeout(() => look().catch(leaveInside), LOOK_EVERY_MS);
  }), LOOK_EVERY_MS);
}

function leaveInside() {
  clearTimeout(looking);
  wallet = null;
  shown = "";
  byId("inside").hidden = byId("account").hidden = true;
  entrance("Sign in with your wallet", "The one that lent the machines. Signing in costs nothing.");
  byId("entrance").hidden = false;
}

function entrance(title, text) {
  byId("entrance-title").textContent = title;
  byId("entrance-text").textContent = text;
}

function show(own) {
  // Drawn anew only when something changed: a button must not vanish under a finger.
  const now = JSON.stringify([own, wallet === null]);
  if (now === shown) return;
  shown = now;
  byId("inside").hidden = byId("account").hidden = false;
  byId("contributor").textContent = own.contributor;
  label(byId("standing"), CONTRIBUTOR[own.state]);
  byId("sentence").hidden = !own.sentence;
  byId("sentence").textContent = own.sentence ?? "";
  byId("none").hidden = own.devices.length > 0;
  byId("leaving").hidden = own.devices.length === 0 || own.state === "left" || own.state === "draining";
  byId("devices").replaceChildren(...own.devices.map(deviceCard));
}

function deviceCard(device) {
  const card = element("li", "card");
  card.dataset.device = device.device;
  const head = element("div", "device-head");
  head.append(element("code", "key", device.device), label(element("span"), DEVICE[device.state]));
  card.append(head);
  if (device.sentence) card.append(element("p", "", device.sentence));
  const foot = element("div", "device-foot");
  const facts = [];
  if (device.jobs) facts.push(device.jobs === 1 ? "1 job in hand" : `${device.jobs} jobs in hand`);
  if (device.expires_at && device.state === "registered") facts.push(`${facts.length ? "until" : "Until"} ${day(device.expires_at)}`);
  foot.append(element("p", "", facts.join(", ")));
  if (device.state === "registered" || device.state === "waiting") {
    const button = element("button", "danger", "Revoke");
    button.type = "button";
    onPress(button, () => revoke(device.device));
    foot.append(button);
  }
  card.append(foot);
  return card;
}

function label(chip, [text, tone]) {
  chip.className = `chip ${tone}`;
  chip.textContent = text;
  return chip;
}

async function revoke(device) {
  const text = `The machine ${short(device)} may do nothing any more, at once and for ever. A job that it runs is done elsewhere.`;
  if (!await agreed("Revoke this device?", text, "Revoke")) return;
  await act("/revocations", { action: "RevokeDevice", device });
}

async function leave() {
  const text = "Your devices finish what they run, and get nothing new. What was earned stays earned, and is paid.";
  if (!await agreed("Leave the pool?", text, "Leave")) return;
  await act("/departures", { action: "LeavePool" });
  notice("The pool has it. Your devices finish what they run.", false);
}

async function act(path, asked) {
  if (wallet === null) throw new Error("Connect your wallet first: this needs its signature.");
  await ask("POST", path, await wallet.signAction(asked));
  await look();
}

function agreed(title, text, yes) {
  const dialog = byId("question");
  byId("question-title").textContent = title;
  byId("question-text").textContent = text;
  byId("question-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
