// Package xks is an external key store proxy: the HTTP interface through which a KMS
// uses keys that stay in a token.
//
// Every request is signed with Signature Version 4 for the service kms-xks-proxy.
// The key id in the path is the label of a key. What Encrypt returns as
// ciphertextMetadata is a version byte, 1, and the first 8 bytes of SHA-256 of the
// CKA_ID of the key's version, so that Decrypt finds it after a rotation.
//
// Source: AWS KMS External Key Store Proxy API Specification, aws/aws-kms-xksproxy-api-spec.
package xks
