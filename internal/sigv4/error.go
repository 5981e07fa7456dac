package sigv4

import (
	"errors"
	"time"
)

// Kind says why a request was refused. The protocol layer turns it into a code
// and a status of the protocol at hand; the comments name what AWS answers in
// Query (IAM, STS), JSON and S3.
type Kind int

const (
	// MissingAuth: no credentials at all. Query 403 MissingAuthenticationToken;
	// JSON MissingAuthenticationTokenException; S3 403 AccessDenied.
	MissingAuth Kind = iota + 1
	// UnknownKey: no such active access key. Query 403 InvalidClientTokenId;
	// JSON UnrecognizedClientException; S3 403 InvalidAccessKeyId.
	UnknownKey
	// BadSignature: the signature, or that of a chunk or trailer, differs.
	// Query 403 SignatureDoesNotMatch; JSON InvalidSignatureException; S3 403
	// SignatureDoesNotMatch with the elements of [Error].
	BadSignature
	// Malformed: the Authorization header or the query parameters cannot be
	// read. Query 400 IncompleteSignature; JSON 400
	// IncompleteSignatureException; S3 400 AuthorizationHeaderMalformed, or
	// AuthorizationQueryParametersError when Error.Presigned.
	Malformed
	// Expired: a presigned request outside its validity. Query 403
	// SignatureDoesNotMatch; JSON InvalidSignatureException; S3 403
	// AccessDenied "Request has expired".
	Expired
	// Skewed: the request time is too far from ours. Query 403
	// SignatureDoesNotMatch; JSON InvalidSignatureException; S3 403
	// RequestTimeTooSkewed.
	Skewed
	// WrongScope: date, region, service or terminator of the credential
	// scope. Query 403 SignatureDoesNotMatch; JSON InvalidSignatureException;
	// S3 400 AuthorizationHeaderMalformed (or AuthorizationQueryParametersError)
	// with Error.Region, which SDKs follow.
	WrongScope
	// TokenExpired: Query 403 ExpiredToken; JSON ExpiredTokenException; S3 400
	// ExpiredToken.
	TokenExpired
	// TokenInvalid: Query 403 InvalidClientTokenId; JSON
	// UnrecognizedClientException; S3 400 InvalidToken.
	TokenInvalid
	// BodyHash: the body is not what x-amz-content-sha256 says. JSON
	// InvalidSignatureException; S3 400 XAmzContentSHA256Mismatch.
	BodyHash
	// UnsupportedAlgorithm: Signature Version 4A, Version 2 or another
	// scheme. Query and JSON as Malformed; S3 400 InvalidRequest.
	UnsupportedAlgorithm
	// UnsignedHeaders: host or an x-amz-* header is not among the signed
	// ones; Error.Headers names them. Query 403 SignatureDoesNotMatch; JSON
	// InvalidSignatureException; S3 403 AccessDenied.
	UnsignedHeaders
	// InvalidRequest: S3 400 InvalidRequest, for a missing
	// x-amz-content-sha256 or a wrong combination of checksum and trailer.
	InvalidRequest
	// InvalidArgument: S3 400 InvalidArgument, for an x-amz-content-sha256
	// that is neither a hash nor a known word.
	InvalidArgument
	// MissingLength: S3 411 MissingContentLength, for an aws-chunked body
	// without x-amz-decoded-content-length.
	MissingLength
	// IncompleteBody: S3 400 IncompleteBody, for a body that ends early, is
	// longer than announced or has broken chunk framing.
	IncompleteBody
	// MalformedTrailer: S3 400 MalformedTrailerError.
	MalformedTrailer
)

// String returns the name of the constant.
func (k Kind) String() string {
	switch k {
	case MissingAuth:
		return "MissingAuth"
	case UnknownKey:
		return "UnknownKey"
	case BadSignature:
		return "BadSignature"
	case Malformed:
		return "Malformed"
	case Expired:
		return "Expired"
	case Skewed:
		return "Skewed"
	case WrongScope:
		return "WrongScope"
	case TokenExpired:
		return "TokenExpired"
	case TokenInvalid:
		return "TokenInvalid"
	case BodyHash:
		return "BodyHash"
	case UnsupportedAlgorithm:
		return "UnsupportedAlgorithm"
	case UnsignedHeaders:
		return "UnsignedHeaders"
	case InvalidRequest:
		return "InvalidRequest"
	case InvalidArgument:
		return "InvalidArgument"
	case MissingLength:
		return "MissingLength"
	case IncompleteBody:
		return "IncompleteBody"
	case MalformedTrailer:
		return "MalformedTrailer"
	}
	return "Unknown"
}

// Error is a refused request. Kind and Message are always set and may be shown
// to the client. The other fields are set where the comment says so; they come
// from the request itself (the canonical request may hold the client's session
// token), so they belong in the answer and never in a log.
type Error struct {
	Kind    Kind
	Message string

	// Presigned: the credentials were query parameters.
	Presigned bool
	// AccessKeyID as the request names it, when it could be read.
	AccessKeyID string

	// SignatureProvided, StringToSign and CanonicalRequest come with
	// BadSignature. For a chunk CanonicalRequest is empty.
	SignatureProvided string
	StringToSign      string
	CanonicalRequest  string

	// Region is the region that the scope should have named (WrongScope).
	Region string
	// Headers are lower-case names, sorted (UnsignedHeaders).
	Headers []string

	// RequestTime, ServerTime and MaxSkew come with Skewed and Expired;
	// ExpiresAt is when a presigned request ended.
	RequestTime time.Time
	ServerTime  time.Time
	MaxSkew     time.Duration
	ExpiresAt   time.Time

	// ClientSHA256 and ComputedSHA256 are hexadecimal (BodyHash).
	ClientSHA256   string
	ComputedSHA256 string

	cause error
}

// Error returns kind and message without anything secret.
func (e *Error) Error() string { return "sigv4: " + e.Kind.String() + ": " + e.Message }

// Unwrap returns the private cause, which may be nil.
func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the Kind of the Error in err's tree, 0 when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return 0
}

func fail(k Kind, message string) *Error { return &Error{Kind: k, Message: message} }
