// Joining: connect, sign in, delegate, and wait for the machine and the pool.

import { ask, byId, day, element, notice, onPress, openPool, short } from "/page/pool.js";
import { offerWallets } from "/page/wallet.js";

const LOOK_EVERY_MS = 1500;
// Behind the code's end the machine no longer waits.
const OVERTIME_MS = 60_000;
const STEPS = ["connect", "sign-in", "delegate", "confirm"];

const code = decodeURIComponent(location.pathname.split("/")[2] ?? "").toUpperCase();
let wallet = null;

start().catch((error) => notice(error.message));

async function start() {
  const pool = await openPool();
  if (pool === null) return;
  if (!code) return askForCode();
  let found;
  try {
    found = await ask("GET", `/wallet/codes/${encodeURIComponent(code)}`);
  } catch (error) {
    if (error.status === 404 || error.status === 410) askForCode();
    throw error;
  }
  byId("joining").hidden = false;
  showMachine(pool, found);
  ask("GET", "/terms").then(showTerms, () => {});
  if (found.state === "delegated") {
    done("connect", short(found.contributor));
    done("sign-in", "Done");
    return waitForMachine(found);
  }
  goTo("connect");
  offerWallets(pool, connect);
  onPress(byId("sign-in"), signIn);
  onPress(byId("delegate"), delegate);
}

function askForCode() {
  byId("enter").hidden = false;
  byId("join-command").textContent = `millpond agent join ${location.origin}`;
  byId("code-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const letters = byId("code-field").value.toUpperCase().replace(/[^A-Z0-9]/g, "");
    if (letters.length !== 8) return notice("A code has eight letters and digits, such as BDFG-2345.");
    location.assign(`/join/${letters.slice(0, 4)}-${letters.slice(4)}`);
  });
}

function showMachine(pool, found) {
  byId("code").textContent = found.code;
  byId("device").textContent = found.device;
  byId("page-link").textContent = location.href;
  byId("delegate-command").textContent = [
    "millpond delegate --keystore KEYSTORE --password-file PASSWORD \\",
    `  --device ${found.device} \\`,
    `  --pool ${pool.pool} --chain-id ${pool.chain_id} > delegation.json`,
    `millpond agent join ${location.origin} --delegation delegation.json`,
  ].join("\n");
  const ahead = new Date(pool.time) - Date.now();
  const count = () => {
    const left = Math.max(0, Math.floor((new Date(found.expires_at) - Date.now() - ahead) / 1000));
    byId("remaining").textContent = left ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} minutes` : "no more: it has expired";
    if (left) setTimeout(count, 1000);
  };
  count();
}

function showTerms(shown) {
  const terms = JSON.parse(shown.document);
  const percent = (ppm) => `${ppm / 10_000} %`;
  const share = `${percent(terms.split.contributors_share_ppm)} for the contributors`;
  byId("terms-brief").textContent = `${share}, paid ${terms.payout.frequency.join(" or ")} in ${terms.payout.assets.join(" or ")}`;
  const lines = {
    Operator: terms.operator.name,
    Earnings: `${share}. ${terms.split.earnings}`,
    "Paid in": `${terms.payout.assets.join(", ")} (${terms.payout.frequency.join(", ")})`,
    Penalties: terms.split.penalties,
    "Coming in": terms.admission.policy === "open" ? "Open to everybody" : "The operator approves each contributor",
    Leaving: `${terms.leaving.at_any_time ? "At any time." : "With notice."} ${terms.leaving.balance}`,
  };
  for (const [name, text] of Object.entries(lines)) byId("terms-lines").append(element("dt", "", name), element("dd", "", text));
  byId("terms-version").textContent = `, version ${shown.version}, signed by the operator`;
  byId("terms").hidden = false;
}

async function connect(chosen) {
  await chosen.connect();
  wallet = chosen;
  // Another account, or another chain: what was shown no longer holds.
  for (const event of ["accountsChanged", "chainChanged"]) wallet.provider.on?.(event, () => startAgain(chosen));
  done("connect", short(wallet.account));
  goTo("sign-in");
}

function startAgain(changed) {
  if (changed !== wallet || isCurrent("confirm")) return;
  wallet = null;
  notice("The wallet has changed account or network. Connect it again.", false);
  goTo("connect");
}

async function signIn() {
  const contributor = await wallet.signIn();
  done("sign-in", `As ${contributor}`);
  goTo("delegate");
}

async function delegate() {
  const days = Number(byId("days").value);
  const signed = await wallet.signAction({ action: "DelegateDevice", code, days });
  const found = await ask("POST", `/wallet/codes/${encodeURIComponent(code)}/delegation`, signed);
  return waitForMachine(found, signed.message.expires_at);
}

function waitForMachine(found, expiresAt) {
  for (const each of document.querySelectorAll("[data-open]")) each.hidden = true;
  done("delegate", expiresAt ? `Until ${day(expiresAt * 1000)}` : "Done");
  goTo("confirm");
  const until = Number(new Date(found.expires_at)) + OVERTIME_MS;
  const look = async () => {
    const now = await ask("GET", `/wallet/codes/${encodeURIComponent(code)}`).catch(() => found);
    if (!shown(now) && Date.now() < until) setTimeout(look, LOOK_EVERY_MS);
  };
  look();
}

// Whether there is nothing more to wait for.
function shown({ contributor, standing }) {
  const own = standing.contributor === contributor;
  if (own && standing.state === "registered") {
    done("confirm", "The machine agreed, and the pool has let it in");
    byId("joined").hidden = false;
    byId("joined").scrollIntoView({ block: "nearest" });
    return true;
  }
  if (own && (standing.state === "refused" || standing.state === "removed")) {
    byId("waiting").className = "";
    byId("waiting").textContent = "The pool did not let it in.";
    notice(standing.sentence ?? "The pool did not let the machine in.");
    return true;
  }
  if (own && standing.state === "waiting") {
    byId("waiting").textContent = `The machine agreed. Waiting for the pool to let it in. ${standing.sentence ?? ""}`;
  }
  return false;
}

function step(name) {
  return document.querySelector(`[data-step="${name}"]`);
}

function isCurrent(name) {
  return step(name).classList.contains("is-current");
}

function done(name, text) {
  step(name).querySelector("[data-done]").textContent = text;
  step(name).className = "is-done";
}

function goTo(name) {
  for (const each of STEPS.slice(STEPS.indexOf(name))) step(each).className = "";
  step(name).className = "is-current";
}
