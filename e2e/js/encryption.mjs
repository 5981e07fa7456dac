// The AWS Encryption SDK for JavaScript, driven by lines of JSON: one request a
// line on standard input, one answer a line on standard output, in order. What
// the SDK needs of AWS comes from the environment alone.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The folder of the pinned packages is the argument.
const {
  AlgorithmSuiteIdentifier, CommitmentPolicy, KmsKeyringNode, buildAwsKmsMrkAwareStrictMultiKeyringNode, buildClient,
} = createRequire(`${process.argv[2]}/`)("@aws-crypto/client-node");

const { encrypt, decrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);

const suites = {
  signed: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
  unsigned: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
};

function keyringOf({ multiRegion, ...input }) {
  return multiRegion ? buildAwsKmsMrkAwareStrictMultiKeyringNode(input) : new KmsKeyringNode(input);
}

const operations = {
  async encrypt({ keyring, data, context, suite, frame }) {
    const made = await encrypt(keyringOf(keyring), Buffer.from(data, "base64"), {
      encryptionContext: context,
      suiteId: suites[suite],
      frameLength: frame,
    });
    return { data: made.result.toString("base64"), context: made.messageHeader.encryptionContext };
  },
  async decrypt({ keyring, data }) {
    const made = await decrypt(keyringOf(keyring), Buffer.from(data, "base64"));
    return { data: made.plaintext.toString("base64"), context: made.messageHeader.encryptionContext };
  },
};

// What the SDK tried in vain stands in the stacks of the errors that it gathers.
function told(error) {
  return [error, ...(error.errors ?? [])].map((e) => `${e.name}: ${e.message}\n${e.stack ?? ""}`).join("\n");
}

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = await operations[operation](request);
  } catch (error) {
    answer = { error: told(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
