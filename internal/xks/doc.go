// Package xks calls an external key store proxy: the small HTTPS service in
// front of a key manager that the customer runs, and the only way to the keys
// in it.
//
// A [Client] sends the four requests of the proxy API, each signed with
// Signature Version 4 for the service kms-xks-proxy. It follows no redirect and
// no proxy of the environment, talks TLS 1.2 or newer only, waits 250 ms for an
// answer and tries once more when none came. Whatever goes wrong is an [*Error]
// whose name says what.
//
// The servers' certificates must lead to a certificate authority of the system.
// On Linux the environment variables SSL_CERT_FILE and SSL_CERT_DIR name other
// ones, for the whole process.
//
// Source: AWS KMS External Key Store Proxy API Specification, version 1.
package xks
