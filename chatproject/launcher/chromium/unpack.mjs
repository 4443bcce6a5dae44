// node unpack.mjs FROM TO: every FROM/*.br, unpacked as TO/*
import { createReadStream, createWriteStream, readdirSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const [from, to] = process.argv.slice(2);
for (const name of readdirSync(from).filter((each) => each.endsWith(".br"))) {
  const unpacked = createWriteStream(join(to, name.slice(0, -".br".length)));
  await pipeline(createReadStream(join(from, name)), createBrotliDecompress(), unpacked);
}
