// The wallet in the browser: finding it (EIP-6963, window.ethereum), asking it (EIP-1193), and saying what went wrong.

import { ask, byId, element, onPress } from "/page/pool.js";

const DECLINED = 4001;
const UNKNOWN_CHAIN = 4902;
const ALREADY_ASKING = -32002;
const NAMES = { 1: "Ethereum", 42161: "Arbitrum One", 421614: "Arbitrum Sepolia", 31337: "a local test chain" };
// Extensions announce themselves within some milliseconds; after this long one that never will isn't waited for.
const SEARCH_MS = 600;

export class WalletError extends Error {}

export class Wallet {
  constructor(provider, pool) {
    this.provider = provider;
    this.pool = pool;
    this.account = null;
  }

  async request(method, params) {
    try {
      return await this.provider.request({ method, params });
    } catch (error) {
      throw new WalletError(sentence(error));
    }
  }

  // The account that the wallet offers, on the pool's chain.
  async connect() {
    const accounts = await this.request("eth_requestAccounts");
    if (!accounts?.length) throw new WalletError("The wallet offers no account. Unlock it, choose one, then try again.");
    this.account = accounts[0];
    await this.toPoolChain();
    return this.account;
  }

  async toPoolChain() {
    const wanted = this.pool.chain_id;
    if (Number(await this.request("eth_chainId")) === wanted) return;
    const name = NAMES[wanted] ? `${NAMES[wanted]} (chain ${wanted})` : `chain ${wanted}`;
    try {
      const params = [{ chainId: `0x${wanted.toString(16)}` }];
      await this.provider.request({ method: "wallet_switchEthereumChain", params });
    } catch (error) {
      if (codeOf(error) === UNKNOWN_CHAIN) {
        throw new WalletError(`Your wallet doesn’t know the network of this pool, ${name}. Add it in the wallet, then try again.`);
      }
      if (codeOf(error) === DECLINED) {
        throw new WalletError(`This pool is on ${name}, and your wallet is on another network. Switch it, then try again.`);
      }
      throw new WalletError(sentence(error));
    }
    if (Number(await this.request("eth_chainId")) !== wanted) {
      throw new WalletError(`Your wallet is still on another network. This pool is on ${name}: switch to it, then try again.`);
    }
  }

  async signText(text) {
    const bytes = Array.from(new TextEncoder().encode(text), (byte) => byte.toString(16).padStart(2, "0"));
    return oneSpelling(await this.request("personal_sign", [`0x${bytes.join("")}`, this.account]));
  }

  // Asks edge for the action as it is to be signed, has it signed, and returns what is to be handed in.
  async signAction(asked) {
    await this.toPoolChain();
    const draft = await ask("POST", "/wallet/drafts", asked);
    if (draft.signer.toLowerCase() !== this.account.toLowerCase()) {
      throw new WalletError(`You are signed in as ${draft.signer}, and the wallet offers ${this.account}. Choose the same account.`);
    }
    const params = [this.account, JSON.stringify(draft.typed_data)];
    const signature = oneSpelling(await this.request("eth_signTypedData_v4", params));
    return { signer: draft.signer, action: draft.action, message: draft.message, signature };
  }

  // Returns the contributor, with a session that says so; asks for a signature only if there is none yet.
  async signIn() {
    const known = await ask("GET", "/wallet/devices").catch(() => null);
    if (known?.contributor.toLowerCase() === this.account.toLowerCase()) return known.contributor;
    const offered = await ask("POST", "/wallet/sign-ins", { address: this.account });
    const signature = await this.signText(offered.text);
    return (await ask("POST", "/wallet/sessions", { nonce: offered.nonce, signature })).contributor;
  }
}

// Shows a button for each wallet there is, as they announce themselves; `chosen` gets the wallet that was pressed.
export function offerWallets(pool, chosen) {
  const place = byId("wallets");
  const seen = new Set();

  const offer = (provider, name, icon, onlyIfFirst) => {
    if (seen.has(provider) || (onlyIfFirst && seen.size)) return;
    seen.add(provider);
    byId("no-wallet").hidden = true;
    const button = element("button", "wallet");
    button.type = "button";
    const picture = element(icon?.startsWith("data:image/") ? "img" : "span", "blank");
    if (picture.tagName === "IMG") Object.assign(picture, { src: icon, alt: "", className: "" });
    button.append(picture, element("span", "", name));
    onPress(button, () => chosen(new Wallet(provider, pool)));
    place.append(button);
  };

  window.addEventListener("eip6963:announceProvider", ({ detail }) => {
    offer(detail.provider, String(detail.info?.name ?? "Wallet"), detail.info?.icon, false);
  });
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  setTimeout(() => {
    if (window.ethereum) offer(window.ethereum, "Browser wallet", null, true);
    byId("no-wallet").hidden = seen.size > 0;
  }, SEARCH_MS);
}

function codeOf(error) {
  return error?.data?.originalError?.code ?? error?.code;
}

function sentence(error) {
  switch (codeOf(error)) {
    case DECLINED:
      return "You declined in the wallet, so nothing has changed. Try again whenever you like.";
    case ALREADY_ASKING:
      return "Your wallet is asking already. Open it, and answer there.";
    default:
      return `The wallet says: ${error?.message ?? error}`;
  }
}

// Some wallets write v as 0 or 1, or in capitals; only one spelling counts.
function oneSpelling(signature) {
  const hex = String(signature).toLowerCase();
  if (!/^0x[0-9a-f]{130}$/.test(hex)) {
    throw new WalletError("This is a contract wallet’s signature. Millpond needs an ordinary account: choose one in the wallet.");
  }
  const v = parseInt(hex.slice(130), 16);
  return v < 2 ? hex.slice(0, 130) + (v + 27).toString(16) : hex;
}
