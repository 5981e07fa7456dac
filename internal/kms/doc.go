// Package kms is the Key Management Service: keys, key policies, aliases,
// grants and the cryptographic operations under them.
//
// Key material lies in the rows wrapped twice: under the deletion-epoch key of
// the seal, and with the whole row under the service keyring. material.go makes,
// wraps and opens it, erase.go brings it under a new epoch; privatekey.go and
// importid.go know its encodings; spec.go says what keys of a spec can do
// (docs/formats/kms-ciphertext.md). Every use of a
// key is decided by the request pipeline from the key's policy, the caller's
// IAM policies and the key's grants; this package only supplies what they are.
//
// Imported material comes wrapped for a key that serves one import (import*.go);
// a version of a key's material may be known and not there. The keys of other
// Regions that share an id are changed together (multiregion*.go).
//
// What lives in the cache of a key was decided under the key's epoch, which every
// change bumps in its own commit, so that nothing outlives a revocation (I3).
//
// Source: AWS KMS API Reference, API version 2014-11-01.
package kms
