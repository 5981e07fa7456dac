// Package s3 is the object store: buckets, objects, listings and multipart
// uploads with the wire behaviour of Amazon S3, every body under a
// service-owned key and, when the caller or the bucket asks for it, under a KMS
// key on top.
//
// Bodies of at most 16 KiB lie in the object's row, longer ones in segments
// (SGK1). A segment is durable before the one commit that makes the object
// visible; a segment that no row names is garbage and is swept.
//
// A KMS key is always used as the caller, through S3 (kms:ViaService): the
// package holds no right of its own to any key. docs/formats/s3.md describes
// what is stored.
package s3
