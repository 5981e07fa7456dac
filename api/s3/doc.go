// Package s3 holds the wire shapes, operations and errors of Amazon S3
// that Sagekeep answers: those named in operations.txt.
//
// API version 2006-03-01, REST-XML protocol. Generated from the service model with SHA-256
// fd5263cb312c15585d99ea5adb8dd180208e743f14affddedd2eb59f4cb8bd06.
package s3
