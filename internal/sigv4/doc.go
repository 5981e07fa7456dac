// Package sigv4 verifies AWS Signature Version 4 on the server side and signs
// requests of our own client.
//
// A request goes through three steps. [Inspect] parses the Authorization header
// or the presigning query parameters without trusting them: its credential
// scope is what the router reads. [Verifier.Verify] checks scope, time, signed
// headers, session token and signature against the request line as it was
// received. For S3 the body is not read by Verify: [Verifier.Body] returns a
// [Payload] that holds the body to what was signed while it streams, whether it
// is plain, aws-chunked with chunk signatures, or aws-chunked with a trailer.
//
// Rules that other packages rely on:
//
//  1. Nothing is verified from a cleaned path: the request target is
//     http.Request.RequestURI, so "%2F", "//" and ".." mean what the client
//     signed.
//  2. In a query "+" is a plus sign. Read signed queries with [ParseQuery], not
//     with url.ParseQuery, which sees a space there and drops parameters with a
//     semicolon: the signature would then not cover what is read.
//  3. The last byte of a Payload is released only after everything the request
//     promised about the body (hash, chunk signatures, decoded length, trailer
//     and its signature) has been checked.
//  4. Secrets, session tokens and derived keys never print: Credential and Auth
//     format themselves.
//
// Signature Version 4A (AWS4-ECDSA-P256-SHA256) and Signature Version 2 are
// recognised and refused with [UnsupportedAlgorithm].
//
// Sources: AWS General Reference, "Signature Version 4 signing process"; Amazon
// S3 API Reference, "Authenticating Requests (AWS Signature Version 4)".
package sigv4
