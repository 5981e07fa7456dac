package kms

import (
	"errors"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// What callers are told of a proxy's failure: the same text from every
// operation, with the exception that the operation has for it. The proxy's own
// words stay in the cause.
//
// Source: AWS KMS External Key Store Proxy API Specification, "Error codes",
// KMS Considerations; AWS KMS Developer Guide, "Troubleshooting external key
// stores".
const (
	storeNotConnected = "This KMS key is in a custom key store that is not connected to its external key store proxy. Connect the external key store and try the request again."
	ciphertextCorrupt = "The ciphertext that the external key store proxy submitted for decryption, or the encryption context, is corrupted, missing, or otherwise invalid."
	keyNotSuitable    = "The external key does not meet the requirements. It must be a 256-bit AES symmetric key that is enabled and performs encryption and decryption."
)

// proxyError returns the failure of a request to a proxy.
func proxyError(err error) *xks.Error {
	if e, ok := errors.AsType[*xks.Error](err); ok {
		return e
	}
	return &xks.Error{Name: xks.InvalidResponse}
}

// proxyMessage is the text for a failure.
func proxyMessage(name xks.Name) string {
	switch name {
	case xks.InvalidStateException:
		return "The external key associated with this KMS key in an external key store is not enabled in the external key manager. Enable the external key in the external key manager and retry the request."
	case xks.InvalidCiphertextException:
		return "The external key store proxy rejected the request because the specified ciphertext or encryption context is corrupted, missing, or otherwise invalid."
	case xks.InvalidKeyUsageException:
		return "The external key associated with this KMS key in an external key store does not support the requested operation. Enable the operation on the key in your external key manager, and try the request again."
	case xks.AuthenticationFailedException:
		return "The external key store proxy rejected the request because it could not authenticate AWS KMS. Verify the XKS proxy authentication credentials for your external key store and update if necessary."
	case xks.AccessDeniedException:
		return "The external key store proxy denied access to the operation. Verify that the user and the external key are both authorized for this operation, and try the request again."
	case xks.KeyNotFoundException:
		return "The external key associated with this KMS key in an external key store was not found in its external key manager. If the external key ID associated with this KMS key is incorrect, create a new KMS key with the correct external key ID."
	case xks.InvalidURIPathException:
		return "The external key store proxy rejected the request because of an invalid URI path. Verify the URI path for your external key store and update if necessary."
	case xks.UnsupportedOperationException:
		return "The external key store proxy rejected the request because it does not support the requested operation. If you see this error repeatedly, report it to your external key store proxy administrator."
	case xks.DependencyTimeoutException:
		return "The external key store proxy did not respond to the request in the time allotted. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator."
	case xks.ThrottlingException:
		return "The external key store proxy rejected the request due to a very high request rate. Reduce the frequency of your calls using KMS keys in this external key store."
	case xks.InternalException:
		return "The external key store proxy rejected the request because it cannot communicate with the external key manager. Verify that the external key store proxy configuration is correct and that the external key manager is available."
	case xks.Unreachable:
		return "AWS KMS cannot communicate with the external key store proxy. This might be a transient network issue. If you see this error repeatedly, verify that your external key store proxy is active and is connected to the network, and that its endpoint URI is correct in your external key store."
	case xks.TLSFailed:
		return "AWS KMS cannot establish a TLS connection to the external key store proxy. Verify the TLS configuration, including its certificate."
	case xks.TimedOut:
		return "AWS KMS rejected the request because the external key store proxy did not respond in time. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator."
	}
	return "AWS KMS cannot interpret the response from the external key store proxy. If you see this error repeatedly, report it to your external key store proxy administrator."
}

// exception makes an error of the API with the text for a failure.
func exception(of func(string, ...any) *schema.Error, e *xks.Error) error {
	return of("%s", proxyMessage(e.Name)).Because(e)
}

// cryptoError is the answer of cryptographic operations: one exception for all.
func cryptoError(err error) error {
	return exception(kmsapi.KMSInvalidStateException, proxyError(err))
}

// newKeyError is the answer of CreateKey.
func newKeyError(err error) error {
	e := proxyError(err)
	switch e.Name {
	case xks.KeyNotFoundException:
		return exception(kmsapi.XksKeyNotFoundException, e)
	case xks.InvalidStateException, xks.InvalidKeyUsageException:
		return exception(kmsapi.XksKeyInvalidConfigurationException, e)
	case xks.AccessDeniedException:
		return exception(kmsapi.KMSInvalidStateException, e)
	}
	return exception(kmsapi.CustomKeyStoreInvalidStateException, e)
}

// storeError is the answer of CreateCustomKeyStore and UpdateCustomKeyStore.
func storeError(err error) error {
	e := proxyError(err)
	switch e.Name {
	case xks.AuthenticationFailedException:
		return exception(kmsapi.XksProxyIncorrectAuthenticationCredentialException, e)
	case xks.InvalidURIPathException, xks.InvalidStateException, xks.AccessDeniedException:
		return exception(kmsapi.XksProxyInvalidConfigurationException, e)
	case xks.DependencyTimeoutException, xks.ThrottlingException, xks.Unreachable, xks.TLSFailed, xks.TimedOut:
		return exception(kmsapi.XksProxyUriUnreachableException, e)
	}
	return exception(kmsapi.XksProxyInvalidResponseException, e)
}

// connectionCode is what DescribeCustomKeyStores shows of a failed connection.
//
// Source: AWS KMS API Reference, CustomKeyStoresListEntry.
func connectionCode(err error) kmsapi.ConnectionErrorCodeType {
	switch proxyError(err).Name {
	case xks.AuthenticationFailedException:
		return kmsapi.ConnectionErrorCodeTypeInvalidCredentials
	case xks.AccessDeniedException:
		return kmsapi.ConnectionErrorCodeTypeXksProxyAccessDenied
	case xks.InvalidURIPathException, xks.InvalidStateException:
		return kmsapi.ConnectionErrorCodeTypeXksProxyInvalidConfiguration
	case xks.Unreachable, xks.ThrottlingException:
		return kmsapi.ConnectionErrorCodeTypeXksProxyNotReachable
	case xks.TLSFailed:
		return kmsapi.ConnectionErrorCodeTypeXksProxyInvalidTlsConfiguration
	case xks.TimedOut, xks.DependencyTimeoutException:
		return kmsapi.ConnectionErrorCodeTypeXksProxyTimedOut
	}
	return kmsapi.ConnectionErrorCodeTypeXksProxyInvalidResponse
}
