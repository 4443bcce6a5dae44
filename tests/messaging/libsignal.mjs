// libsignal behind a pipe: a line of JSON in, a line of JSON out. Each client's private keys stay in this process.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const signal = await import(pathToFileURL(process.env.LIBSIGNAL_MODULE));
const clients = new Map();
const bytes = (text) => Buffer.from(text, "base64");
const text = (raw) => Buffer.from(raw).toString("base64");

class Sessions extends signal.SessionStore {
  records = new Map();
  async saveSession(name, record) { this.records.set(name.toString(), record.serialize()); }
  async getSession(name) {
    const kept = this.records.get(name.toString());
    return kept ? signal.SessionRecord.deserialize(kept) : null;
  }
  async getExistingSessions(names) { return Promise.all(names.map((name) => this.getSession(name))); }
}

class Identities extends signal.IdentityKeyStore {
  known = new Map();
  constructor(own, registrationId) { super(); this.own = own; this.registrationId = registrationId; }
  async getIdentityKey() { return this.own; }
  async getLocalRegistrationId() { return this.registrationId; }
  async saveIdentity(name, key) {
    const before = this.known.get(name.toString());
    this.known.set(name.toString(), key);
    const changed = before && !before.equals(key);
    return changed ? signal.IdentityChange.ReplacedExisting : signal.IdentityChange.NewOrUnchanged;
  }
  async isTrustedIdentity(name, key) {
    const known = this.known.get(name.toString());
    return !known || known.equals(key);
  }
  async getIdentity(name) { return this.known.get(name.toString()) ?? null; }
}

class Records {
  records = new Map();
  find(id) {
    const record = this.records.get(id);
    if (!record) throw new Error(`no private key ${id}`);
    return record;
  }
}

class Prekeys extends signal.PreKeyStore {
  kept = new Records();
  lastResorts = new Set();
  async savePreKey(id, record) { this.kept.records.set(id, record); }
  async getPreKey(id) { return this.kept.find(id); }
  async removePreKey(id) { if (!this.lastResorts.has(id)) this.kept.records.delete(id); }
}

class SignedPrekeys extends signal.SignedPreKeyStore {
  kept = new Records();
  async saveSignedPreKey(id, record) { this.kept.records.set(id, record); }
  async getSignedPreKey(id) { return this.kept.find(id); }
}

class KyberPrekeys extends signal.KyberPreKeyStore {
  kept = new Records();
  lastResorts = new Set();
  async saveKyberPreKey(id, record) { this.kept.records.set(id, record); }
  async getKyberPreKey(id) { return this.kept.find(id); }
  async markKyberPreKeyUsed(id) { if (!this.lastResorts.has(id)) this.kept.records.delete(id); }
}

class Person {
  constructor(registrationId) {
    this.identity = signal.PrivateKey.generate();
    this.sessions = new Sessions();
    this.identities = new Identities(this.identity, registrationId);
    this.prekeys = new Prekeys();
    this.signedPrekeys = new SignedPrekeys();
    this.kyberPrekeys = new KyberPrekeys();
  }
  get identityKey() { return this.identity.getPublicKey().serialize(); }

  async prekey(id) {
    const key = signal.PrivateKey.generate();
    await this.prekeys.savePreKey(id, signal.PreKeyRecord.new(id, key.getPublicKey(), key));
    return { key_id: id, public_key: text(key.getPublicKey().serialize()) };
  }
  async signedPrekey(id) {
    const key = signal.PrivateKey.generate();
    const publicKey = key.getPublicKey().serialize();
    const signature = this.identity.sign(publicKey);
    const record = signal.SignedPreKeyRecord.new(id, Date.now(), key.getPublicKey(), key, signature);
    await this.signedPrekeys.saveSignedPreKey(id, record);
    return { key_id: id, public_key: text(publicKey), signature: text(signature) };
  }
  async lastResort(id) {
    const prekey = await this.prekey(id);
    this.prekeys.lastResorts.add(id);
    return { ...prekey, signature: text(this.identity.sign(bytes(prekey.public_key))) };
  }
  async kyberPrekey(id, isLastResort) {
    const pair = signal.KEMKeyPair.generate();
    const publicKey = pair.getPublicKey().serialize();
    const signature = this.identity.sign(publicKey);
    await this.kyberPrekeys.saveKyberPreKey(id, signal.KyberPreKeyRecord.new(id, Date.now(), pair, signature));
    if (isLastResort) this.kyberPrekeys.lastResorts.add(id);
    return { key_id: id, public_key: text(publicKey), signature: text(signature) };
  }
}

const address = ({ user_id, device_number }) => signal.ProtocolAddress.new(user_id, device_number);

const commands = {
  async create({ name, registration_id }) {
    const person = new Person(registration_id);
    clients.set(name, person);
    return {
      identity_key: text(person.identityKey),
      signed_prekey: await person.signedPrekey(1),
      one_time_prekeys: [await person.prekey(1), await person.prekey(2)],
      last_resort_prekey: await person.lastResort(3),
      pq_prekeys: [await person.kyberPrekey(1, false), await person.kyberPrekey(2, false)],
      pq_last_resort_prekey: await person.kyberPrekey(3, true),
    };
  },
  async rotate({ name, key_id }) { return clients.get(name).signedPrekey(key_id); },
  async sign({ message }) {
    const key = signal.PrivateKey.generate();
    return { public_key: text(key.getPublicKey().serialize()), signature: text(key.sign(bytes(message))) };
  },
  async verify({ public_key, message, signature }) {
    return signal.PublicKey.deserialize(bytes(public_key)).verify(bytes(message), bytes(signature));
  },
  // A session with a device, begun with the bundle as the server hands it out.
  async begin({ name, own, user_id, bundle }) {
    const person = clients.get(name);
    const oneTime = bundle.one_time_prekey ?? bundle.last_resort_prekey;
    const prepared = signal.PreKeyBundle.new(
      bundle.registration_id, bundle.device_number,
      oneTime.key_id, signal.PublicKey.deserialize(bytes(oneTime.public_key)),
      bundle.signed_prekey.key_id, signal.PublicKey.deserialize(bytes(bundle.signed_prekey.public_key)),
      bytes(bundle.signed_prekey.signature), signal.PublicKey.deserialize(bytes(bundle.identity_key)),
      bundle.pq_prekey.key_id, signal.KEMPublicKey.deserialize(bytes(bundle.pq_prekey.public_key)),
      bytes(bundle.pq_prekey.signature),
    );
    const theirs = address({ user_id, device_number: bundle.device_number });
    await signal.processPreKeyBundle(prepared, theirs, address(own), person.sessions, person.identities);
    return null;
  },
  // On the wire the first byte says which kind of libsignal's messages follows.
  async encrypt({ name, own, to, plaintext }) {
    const person = clients.get(name);
    const sealed = await signal.signalEncrypt(
      bytes(plaintext), address(to), address(own), person.sessions, person.identities,
    );
    return text(Buffer.concat([Buffer.from([sealed.type()]), sealed.serialize()]));
  },
  async decrypt({ name, own, from, ciphertext }) {
    const { sessions, identities, prekeys, signedPrekeys, kyberPrekeys } = clients.get(name);
    const kind = bytes(ciphertext)[0], body = bytes(ciphertext).subarray(1);
    if (kind === signal.CiphertextMessageType.PreKey) {
      const message = signal.PreKeySignalMessage.deserialize(body);
      return text(await signal.signalDecryptPreKey(
        message, address(from), address(own), sessions, identities, prekeys, signedPrekeys, kyberPrekeys,
      ));
    }
    const message = signal.SignalMessage.deserialize(body);
    return text(await signal.signalDecrypt(message, address(from), address(own), sessions, identities));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...facts } = JSON.parse(line);
  let answer;
  try {
    answer = { answer: (await commands[command](facts)) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
