package catalog_test

import (
	"fmt"

	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

func ExampleMatch() {
	for _, a := range catalog.Match("kms:ReEncrypt*") {
		fmt.Println(a, "on", a.Resources[0].ARN, "with kms:ViaService:", a.Has("kms:ViaService"))
	}
	// Output:
	// kms:ReEncryptFrom on arn:${Partition}:kms:${Region}:${Account}:key/${KeyId} with kms:ViaService: true
	// kms:ReEncryptTo on arn:${Partition}:kms:${Region}:${Account}:key/${KeyId} with kms:ViaService: true
}

func ExampleOperation() {
	fmt.Println(catalog.Operation("s3", "ListObjectsV2"), catalog.Operation("kms", "ReEncrypt"))
	// Output: [s3:ListBucket] [kms:ReEncryptFrom kms:ReEncryptTo]
}
