package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/store"
)

// KeyNames are the names by which buckets and objects can name a KMS key.
type KeyNames struct {
	ARN, ID, Account, Region string
	Aliases                  []string // with their prefix alias/
}

// names reports whether a key id, as a client gave it for a bucket of an account,
// names the key.
func (k *KeyNames) names(account, text string) bool {
	if text == "" {
		text = "alias/aws/s3"
	}
	if strings.HasPrefix(text, "arn:") {
		prefix := "arn:aws:kms:" + k.Region + ":" + k.Account + ":"
		alias, ok := strings.CutPrefix(text, prefix)
		return text == k.ARN || ok && slices.Contains(k.Aliases, alias)
	}
	return account == k.Account && (text == k.ID || slices.Contains(k.Aliases, text))
}

// KeyUse is what one bucket keeps under a KMS key.
type KeyUse struct {
	Bucket, Account string
	Default         bool // the key is the bucket's default
	BucketKey       bool
	Policy          bool // the bucket policy names the key
	Objects, Bytes  int64
	Uploads         int64 // multipart uploads under way
}

// keyUseCursor is where KeyUses goes on: behind After in a bucket.
type keyUseCursor struct {
	Bucket string
	After  []byte
}

var errKeyUseCursor = errors.New("s3: not a cursor of KeyUses")

// KeyUses finds what is encrypted under a key. One call reads about budget objects
// and returns what it found in them, where to go on, nil at the end, and how many
// it read. A bucket may come again with more.
func (s *Service) KeyUses(ctx context.Context, k KeyNames, cursor []byte, budget int) (found []KeyUse, next []byte, read int, err error) {
	var at keyUseCursor
	if cursor != nil {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return nil, nil, 0, errKeyUseCursor
		}
	}
	var all []bucketRow
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all = nil
		for row, err := range buckets.Scan(tx, nil, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if row.Value.Region == k.Region { // a bucket's keys are of its Region
				all = append(all, row.Value)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, 0, fmt.Errorf("s3: list buckets: %w", err)
	}
	slices.SortFunc(all, func(a, b bucketRow) int { return strings.Compare(a.Name, b.Name) })
	for i := range all {
		b := &all[i]
		if b.Name < at.Bucket {
			continue
		}
		if read >= budget {
			next, err = json.Marshal(keyUseCursor{Bucket: b.Name})
			return found, next, read, err
		}
		u := KeyUse{Bucket: b.Name, Account: b.Account}
		var after []byte
		if b.Name == at.Bucket && at.After != nil {
			after = at.After // the rest is told already
		} else if err := s.keyUseOfBucket(ctx, &k, b, &u); err != nil {
			return nil, nil, 0, err
		}
		n, last, err := s.keyUseOfObjects(ctx, &k, b, after, budget-read, &u)
		if err != nil {
			return nil, nil, 0, err
		}
		read += n
		if u != (KeyUse{Bucket: b.Name, Account: b.Account}) {
			found = append(found, u)
		}
		if last != nil {
			next, err = json.Marshal(keyUseCursor{Bucket: b.Name, After: last})
			return found, next, read, err
		}
	}
	return found, nil, read, nil
}

// keyUseOfBucket finds the key in the bucket's settings and uploads.
func (s *Service) keyUseOfBucket(ctx context.Context, k *KeyNames, b *bucketRow, u *KeyUse) error {
	d := &b.Default
	u.Default = d.Algorithm != "" && d.Algorithm != s3api.ServerSideEncryptionAes256 && k.names(b.Account, d.KeyID)
	u.BucketKey = u.Default && d.BucketKeys
	u.Policy = strings.Contains(b.Policy, k.ID)
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		u.Uploads = 0
		for row, err := range uploads.Scan(tx, store.Key{b.ID}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if row.Value.Encryption.KeyARN == k.ARN {
				u.Uploads++
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("s3: read uploads: %w", err)
	}
	return nil
}

// keyUseOfObjects counts the objects of a bucket under the key.
func (s *Service) keyUseOfObjects(ctx context.Context, k *KeyNames, b *bucketRow, after []byte, limit int, u *KeyUse) (n int, last []byte, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		n, last, u.Objects, u.Bytes = 0, nil, 0, 0
		for row, err := range objects.Scan(tx, store.Key{b.ID}, store.ScanOptions{After: after, Limit: limit}) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			if n++; n == limit {
				last = row.Cursor
			}
			if row.Value.Encryption.KeyARN == k.ARN {
				u.Objects++
				u.Bytes += row.Value.Size
			}
		}
		return nil
	})
	if err != nil {
		return 0, nil, fmt.Errorf("s3: read objects: %w", err)
	}
	return n, last, nil
}
