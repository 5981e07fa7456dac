package s3

import (
	"errors"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

func noSuchBucket(name string) error {
	return s3api.NoSuchBucket("The specified bucket does not exist").With("BucketName", name)
}

func noSuchKey(key string) error {
	return s3api.NoSuchKey("The specified key does not exist.").With("Key", key)
}

func noSuchUpload(id string) error {
	return s3api.NoSuchUpload("The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.").With("UploadId", id)
}

// accessDenied is the plain refusal, for what has no policy to explain.
func accessDenied() *schema.Error { return s3api.AccessDenied("Access Denied") }

// invalidArgument is InvalidArgument with the argument that it is about.
func invalidArgument(name, value, format string, args ...any) error {
	return s3api.InvalidArgument(format, args...).With("ArgumentName", name).With("ArgumentValue", value)
}

// preconditionFailed names the condition that did not hold.
func preconditionFailed(condition string) error {
	return s3api.PreconditionFailed("At least one of the pre-conditions you specified did not hold").With("Condition", condition)
}

// notImplemented refuses a header that would be dangerous to ignore.
func notImplemented(header string) error {
	return s3api.NotImplemented("A header you provided implies functionality that is not implemented").With("Header", header)
}

// kmsError turns KMS's answer into S3's: the code gets the prefix KMS., a
// refusal becomes AccessDenied with KMS's text, and too many calls SlowDown.
//
// Source: recorded answers of Amazon S3; S3 API Reference, "Error responses".
func kmsError(err error) error {
	e, ok := errors.AsType[*schema.Error](err)
	if !ok {
		return err
	}
	switch {
	case e.Code == "ThrottlingException":
		return schema.NewError("SlowDown", 503, "Please reduce your request rate for operations involving AWS KMS.").Because(err)
	case e.Status >= 500:
		return s3api.InternalError("We encountered an internal error. Please try again.").Because(err)
	case e.Code == "AccessDeniedException" || e.Code == "AccessDenied":
		return s3api.AccessDenied("%s", e.Message).Because(err)
	}
	return schema.NewError("KMS."+e.Code, 400, "%s", e.Message).Because(err)
}

// bodyError words a failure to read the request's body. What the signature
// check says is left as it is.
func bodyError(err error) error {
	if _, ok := errors.AsType[*sigv4.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*schema.Error](err); ok {
		return err
	}
	return s3api.RequestTimeout("Your socket connection to the server was not read from or written to within the timeout period.").Because(err)
}

// storageError words a failure to write.
func storageError(err error) error {
	if errors.Is(err, blob.ErrFull) || errors.Is(err, store.ErrFull) {
		return s3api.ServiceUnavailable("Free space is low: writes are refused, reads go on.").Because(err)
	}
	return err
}
