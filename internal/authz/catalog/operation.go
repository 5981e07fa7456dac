package catalog

// Operation returns the actions that an API operation asks for, as a policy
// names them: mostly one of the same name. It returns nil for an operation that
// asks for none that is known.
//
// Sources: Amazon S3 User Guide, "Required permissions for Amazon S3 API
// operations"; AWS KMS Developer Guide, "AWS KMS permissions".
func Operation(service, operation string) []string {
	if list := otherNames(service)[operation]; list != nil {
		all := make([]string, len(list))
		for i, name := range list {
			all[i] = service + ":" + name
		}
		return all
	}
	if a, ok := Lookup(service + ":" + operation); ok {
		return []string{a.String()}
	}
	return nil
}

// otherNames are the operations whose actions have other names than they have.
func otherNames(service string) map[string][]string {
	switch service {
	case "kms":
		// Both keys are asked for, each with the action of its side.
		return map[string][]string{"ReEncrypt": {"ReEncryptFrom", "ReEncryptTo"}}
	case "s3":
		return map[string][]string{
			// Lists of what is in a bucket need the bucket's action.
			"HeadBucket": {"ListBucket"}, "ListObjects": {"ListBucket"}, "ListObjectsV2": {"ListBucket"},
			"ListBuckets": {"ListAllMyBuckets"}, "ListObjectVersions": {"ListBucketVersions"},
			"ListMultipartUploads": {"ListBucketMultipartUploads"}, "ListParts": {"ListMultipartUploadParts"},
			// Parts of what GetObject, PutObject and DeleteObject stand for.
			"HeadObject": {"GetObject"}, "SelectObjectContent": {"GetObject"}, "DeleteObjects": {"DeleteObject"},
			"CopyObject": {"GetObject", "PutObject"}, "UploadPartCopy": {"GetObject", "PutObject"},
			"CreateMultipartUpload": {"PutObject"}, "UploadPart": {"PutObject"}, "CompleteMultipartUpload": {"PutObject"},
			// Bucket settings: the action does not say Bucket, and deleting is putting.
			"GetBucketEncryption": {"GetEncryptionConfiguration"}, "PutBucketEncryption": {"PutEncryptionConfiguration"},
			"DeleteBucketEncryption":          {"PutEncryptionConfiguration"},
			"GetBucketLifecycleConfiguration": {"GetLifecycleConfiguration"}, "PutBucketLifecycleConfiguration": {"PutLifecycleConfiguration"},
			"DeleteBucketLifecycle":              {"PutLifecycleConfiguration"},
			"GetBucketReplication":               {"GetReplicationConfiguration"},
			"PutBucketReplication":               {"PutReplicationConfiguration"},
			"DeleteBucketReplication":            {"PutReplicationConfiguration"},
			"DeleteBucketCors":                   {"PutBucketCORS"},
			"DeleteBucketTagging":                {"PutBucketTagging"},
			"GetPublicAccessBlock":               {"GetBucketPublicAccessBlock"},
			"PutPublicAccessBlock":               {"PutBucketPublicAccessBlock"},
			"DeletePublicAccessBlock":            {"PutBucketPublicAccessBlock"},
			"DeleteBucketOwnershipControls":      {"PutBucketOwnershipControls"},
			"GetObjectLockConfiguration":         {"GetBucketObjectLockConfiguration"},
			"PutObjectLockConfiguration":         {"PutBucketObjectLockConfiguration"},
			"GetBucketNotificationConfiguration": {"GetBucketNotification"},
			"PutBucketNotificationConfiguration": {"PutBucketNotification"},
			"GetBucketAccelerateConfiguration":   {"GetAccelerateConfiguration"},
			"PutBucketAccelerateConfiguration":   {"PutAccelerateConfiguration"},
		}
	}
	return nil
}
