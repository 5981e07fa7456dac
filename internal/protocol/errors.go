package protocol

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

// unknownOperation is AWS's answer to an operation that the model does not know.
func unknownOperation(svc *service, r *http.Request, form url.Values) *schema.Error {
	switch svc.Protocol {
	case schema.AWSQuery:
		return schema.NewError("InvalidAction", 400, "Could not find operation %s for version %s", form.Get("Action"), form.Get("Version"))
	case schema.RESTJSON1:
		return schema.NewError("UnknownOperationException", 404, "the request matches no operation of the service")
	case schema.RESTXML:
		if strings.Contains(r.RequestURI, "?") {
			return schema.NewError("NotImplemented", 501, "A header or query parameter you provided implies functionality that is not implemented.")
		}
		return schema.NewError("MethodNotAllowed", 405, "The specified method is not allowed against this resource.")
	}
	return schema.NewError("UnknownOperationException", 400, "the service does not know this operation")
}

// notImplemented is the answer to an operation of AWS that we do not have.
func notImplemented(op *schema.Operation) *schema.Error {
	if op.Service.Protocol == schema.RESTXML {
		return schema.NewError("NotImplemented", 501, "A header you provided implies functionality that is not implemented.")
	}
	return schema.NewError("NotImplementedException", 501, "%s is known but not implemented; docs/coverage.md lists what is", op.Name)
}

// translate renders any error of the pipeline for the service's protocol.
func (x *exchange) translate(err error, svc *schema.Service) *schema.Error {
	if s, ok := errors.AsType[*sigv4.Error](err); ok {
		p := schema.AWSJSON11
		if svc != nil {
			p = svc.Protocol
		}
		return authError(s, p)
	}
	return schema.AsError(storageError(svc, err))
}

// storageError gives a write that was refused because free space is low its
// answer, which makes SDKs try again; other errors stay.
func storageError(svc *schema.Service, err error) error {
	if !errors.Is(err, store.ErrFull) && !errors.Is(err, blob.ErrFull) {
		return err
	}
	code := "ServiceUnavailableException"
	if svc != nil && (svc.Protocol == schema.RESTXML || svc.Protocol == schema.AWSQuery) {
		code = "ServiceUnavailable"
	}
	return schema.NewError(code, 503, "free space is low: writes are refused until there is more, reads go on").Because(err)
}

// authCode is the code and status of one refusal, for each group of protocols.
type authCode struct {
	query, json, s3       string
	queryStatus, s3Status int
}

// authCodes follows the AWS signature troubleshooting pages and the services'
// CommonErrors pages; JSON services answer 400, REST-JSON ones 403 except for
// malformed headers.
var authCodes = map[sigv4.Kind]authCode{
	sigv4.MissingAuth:          {"MissingAuthenticationToken", "MissingAuthenticationTokenException", "AccessDenied", 403, 403},
	sigv4.UnknownKey:           {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", 403, 403},
	sigv4.BadSignature:         {"SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch", 403, 403},
	sigv4.Malformed:            {"IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed", 400, 400},
	sigv4.Expired:              {"SignatureDoesNotMatch", "InvalidSignatureException", "AccessDenied", 403, 403},
	sigv4.Skewed:               {"SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed", 403, 403},
	sigv4.WrongScope:           {"SignatureDoesNotMatch", "InvalidSignatureException", "AuthorizationHeaderMalformed", 403, 400},
	sigv4.TokenExpired:         {"ExpiredToken", "ExpiredTokenException", "ExpiredToken", 403, 400},
	sigv4.TokenInvalid:         {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidToken", 403, 400},
	sigv4.BodyHash:             {"SignatureDoesNotMatch", "InvalidSignatureException", "XAmzContentSHA256Mismatch", 403, 400},
	sigv4.UnsupportedAlgorithm: {"IncompleteSignature", "IncompleteSignatureException", "InvalidRequest", 400, 400},
	sigv4.UnsignedHeaders:      {"SignatureDoesNotMatch", "InvalidSignatureException", "AccessDenied", 403, 403},
	sigv4.InvalidRequest:       {"InvalidRequest", "ValidationException", "InvalidRequest", 400, 400},
	sigv4.InvalidArgument:      {"InvalidRequest", "ValidationException", "InvalidArgument", 400, 400},
	sigv4.MissingLength:        {"InvalidRequest", "ValidationException", "MissingContentLength", 411, 411},
	sigv4.IncompleteBody:       {"InvalidRequest", "ValidationException", "IncompleteBody", 400, 400},
	sigv4.MalformedTrailer:     {"InvalidRequest", "ValidationException", "MalformedTrailerError", 400, 400},
}

// authError renders a signature refusal.
func authError(s *sigv4.Error, p schema.Protocol) *schema.Error {
	c, ok := authCodes[s.Kind]
	if !ok {
		return schema.NewError("InternalFailure", 500, "an internal error occurred").Because(s)
	}
	switch p {
	case schema.AWSQuery:
		return schema.NewError(c.query, c.queryStatus, "%s", s.Message)
	case schema.RESTXML:
		return s3AuthError(s, c)
	case schema.RESTJSON1:
		status := 403
		if c.queryStatus != 403 {
			status = 400
		}
		return schema.NewError(c.json, status, "%s", s.Message)
	}
	return schema.NewError(c.json, 400, "%s", s.Message)
}

func s3AuthError(s *sigv4.Error, c authCode) *schema.Error {
	e := schema.NewError(c.s3, c.s3Status, "%s", s.Message)
	switch s.Kind {
	case sigv4.Malformed, sigv4.WrongScope:
		if s.Presigned {
			e.Code = "AuthorizationQueryParametersError"
		}
		if s.Region != "" {
			e = e.With("Region", s.Region)
		}
	case sigv4.UnknownKey:
		e = e.With("AWSAccessKeyId", s.AccessKeyID)
	case sigv4.BadSignature:
		e = e.With("AWSAccessKeyId", s.AccessKeyID).With("SignatureProvided", s.SignatureProvided)
		if s.StringToSign != "" {
			e = e.With("StringToSign", s.StringToSign)
		}
		if s.CanonicalRequest != "" {
			e = e.With("CanonicalRequest", s.CanonicalRequest)
		}
	case sigv4.BodyHash:
		e = e.With("ClientComputedContentSHA256", s.ClientSHA256).With("S3ComputedContentSHA256", s.ComputedSHA256)
	}
	return e
}
