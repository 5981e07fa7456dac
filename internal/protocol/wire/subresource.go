package wire

// s3Subresources reports whether a query parameter selects another operation
// than the plain one on a bucket or object, whether or not we implement it.
//
// Source: S3 API Reference, the request syntax of every operation.
func s3Subresources(name string) bool {
	switch name {
	case "abac", "accelerate", "acl", "analytics", "annotation", "attributes", "cors", "delete", "encryption", "intelligent-tiering",
		"inventory", "legal-hold", "lifecycle", "location", "logging", "metadataAnnotationTable", "metadataConfiguration",
		"metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "notification",
		"object-lock", "ownershipControls", "partNumber", "policy", "policyStatus", "publicAccessBlock",
		"renameObject", "replication", "requestPayment", "restore", "retention", "select", "session",
		"tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website":
		return true
	}
	return false
}
