package kms

import (
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// inState returns nil when the key is in one of the states, and otherwise the
// error of the state that it is in.
//
// Source: AWS KMS Developer Guide, "Key states of AWS KMS keys".
func inState(k *keyRow, states ...kmsapi.KeyState) error {
	if slices.Contains(states, k.State) {
		return nil
	}
	switch k.State {
	case kmsapi.KeyStateDisabled:
		return kmsapi.DisabledException("%s is disabled.", k.arn())
	case kmsapi.KeyStatePendingDeletion:
		return kmsapi.KMSInvalidStateException("%s is pending deletion.", k.arn())
	case kmsapi.KeyStatePendingReplicaDeletion:
		return kmsapi.KMSInvalidStateException("%s is pending replica deletion.", k.arn())
	case kmsapi.KeyStatePendingImport:
		return kmsapi.KMSInvalidStateException("%s is pending import.", k.arn())
	case kmsapi.KeyStateUnavailable:
		if k.external() && !k.erased {
			return kmsapi.KMSInvalidStateException(storeNotConnected)
		}
		return materialErased(k)
	case kmsapi.KeyStateCreating:
		return kmsapi.KMSInvalidStateException("%s is creating.", k.arn())
	case kmsapi.KeyStateUpdating:
		return kmsapi.KMSInvalidStateException("%s is updating.", k.arn())
	}
	return kmsapi.KMSInvalidStateException("%s is in the state %s, which is not valid for this operation.", k.arn(), k.State)
}

// usable is for operations that use the key's material.
func usable(k *keyRow) error {
	return inState(k, kmsapi.KeyStateEnabled, kmsapi.KeyStateUpdating)
}

// grantable is for CreateGrant.
func grantable(k *keyRow) error {
	return inState(k, kmsapi.KeyStateEnabled, kmsapi.KeyStateUpdating, kmsapi.KeyStateUnavailable)
}

// switchable is for EnableKey and DisableKey.
func switchable(k *keyRow) error {
	return inState(k, kmsapi.KeyStateEnabled, kmsapi.KeyStateDisabled, kmsapi.KeyStateUnavailable)
}

// kept is for changes that only need the key not to be on its way out.
func kept(k *keyRow) error {
	if k.State == kmsapi.KeyStatePendingDeletion || k.State == kmsapi.KeyStatePendingReplicaDeletion {
		return inState(k)
	}
	return nil
}

// deletable is for ScheduleKeyDeletion.
func deletable(k *keyRow) error {
	if k.State == kmsapi.KeyStateUpdating {
		return inState(k)
	}
	return kept(k)
}
