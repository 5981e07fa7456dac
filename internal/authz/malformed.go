package authz

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MalformedError says why a document is no policy. Message is the text AWS
// gives; Detail says where and what, and holds text of the document. The
// service chooses the code: MalformedPolicyDocument (IAM),
// MalformedPolicyDocumentException (KMS, Organizations), MalformedPolicy (S3).
//
// For a [ResourcePolicy] Message is what S3 says. For a [KeyPolicy] it is what
// KMS says of principals, else IAM's text: KMS leaves the others empty.
// Organizations has one text for everything, that the document does not meet
// the requirements of its type; Message is what follows it.
type MalformedError struct {
	Message string
	Detail  string

	fault fault
}

// Error returns the message with the detail.
func (e *MalformedError) Error() string {
	if e.Detail == "" {
		return e.Message
	}
	return strings.TrimSuffix(e.Message, ".") + ": " + e.Detail
}

// fault is what is wrong with a document. The first group ends the reading at
// once. Of the others, found in one document, that which stands first here is
// told: it is the order in which IAM looks at a document.
type fault uint8

const (
	faultSyntax fault = iota
	faultJSON
	faultFirstByte
	faultVersion
	faultNoStatement
	faultEmptyStatement
	faultUnknownElement // argument: its name
	faultNoEffect
	faultEffect    // argument: its value
	faultOperator  // argument: the operator
	faultCondition // a value that the operator cannot take
	faultAddress

	faultLegacy
	faultSidUnique
	faultSidText

	faultProhibited // argument: the element
	faultNoActions
	faultNoPrincipal
	faultEmptyPrincipal
	faultNoResources
	faultControl // argument: what a control policy cannot have

	faultResource    // argument: the resource
	faultPartition   // arguments: the partition, the resource
	faultResVendor   // of a resource
	faultRegion      // argument: the resource
	faultRegionIAM   // argument: the resource
	faultPathIAM     //
	faultOneColon    // in an action
	faultVendor      // of an action or a condition key
	faultVendorName  // argument: the vendor
	faultTrustAction // in a trust policy
	faultPrincipal   // arguments: type and value
	faultScope       // the actions and the resources of a statement do not meet
)

// Texts that AWS gives for malformed documents.
const (
	msgSyntax       = "Syntax errors in policy."
	msgJSON         = "This policy contains invalid Json" // of IAM in trust policies, of S3
	msgLegacy       = "The policy failed legacy parsing"
	msgSidUnique    = "Statement IDs (SID) in a single policy must be unique."
	msgSidText      = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
	msgNoActions    = "Policy statement must contain actions."
	msgNoResources  = "Policy statement must contain resources."
	msgNoPrincipal  = "Policy statement must contain principals."
	msgVendor       = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	msgVendorName   = "Vendor %s is not valid"
	msgOneColon     = "Actions/Condition can contain only one colon."
	msgResource     = `Resource %s must be in ARN format or "*".`
	msgPartition    = `Partition "%s" is not valid for resource "%s".`
	msgResVendor    = "Resource vendor must be fully qualified and cannot contain regexes."
	msgRegion       = "Resource %s can not contain region information."
	msgRegionIAM    = "IAM resource %s cannot contain region information."
	msgPathIAM      = `IAM resource path must either be "*" or start with ` + iamPaths + "."
	msgProhibited   = "Has prohibited field %s"
	msgTrustActions = "AssumeRole policy may only specify STS AssumeRole actions."
	msgPrincipalIAM = `Invalid principal in policy: "%s":"%s"`

	msgPrincipalKMS   = "Policy contains a statement with one or more invalid principals."
	msgNoPrincipalKMS = "Policy contains a statement with no principal"

	msgSyntaxS3         = "Invalid policy syntax."
	msgFirstByteS3      = "Policies must be valid JSON and the first byte must be '{'"
	msgVersionS3        = "The policy must contain a valid version string"
	msgMissingS3        = "Missing required field %s"
	msgEmptyPrincipalS3 = "Missing required field Principal cannot be empty!"
	msgEmptyStatementS3 = "Could not parse the policy: Statement is empty!"
	msgUnknownS3        = "Unknown field %s"
	msgEffectS3         = "Invalid effect: %s"
	msgOperatorS3       = "Invalid Condition type : %s"
	msgAddressS3        = "Invalid IP address in Conditions"
	msgConditionKeyS3   = "Policy has an invalid condition key"
	msgSidUniqueS3      = "The Statement Ids in the policy are not unique"
	msgActionS3         = "Policy has invalid action"
	msgResourceS3       = "Policy has invalid resource"
	msgPrincipalS3      = "Invalid principal in policy"
	msgScopeS3          = "Action does not apply to any resource(s) in statement"
)

// iamPaths are the paths of IAM's own resources.
const iamPaths = "user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, " +
	"sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/"

// text returns AWS's message for a fault, with %s for arguments.
func (f fault) text(k Kind) string {
	switch {
	case k == ResourcePolicy:
		return f.textS3()
	case k == TrustPolicy && (f == faultJSON || f == faultFirstByte):
		return msgJSON
	case k == KeyPolicy && (f == faultPrincipal):
		return msgPrincipalKMS
	case k == KeyPolicy && (f == faultNoPrincipal || f == faultEmptyPrincipal):
		return msgNoPrincipalKMS
	}
	switch f {
	case faultLegacy:
		return msgLegacy
	case faultSidUnique:
		return msgSidUnique
	case faultSidText:
		return msgSidText
	case faultProhibited:
		return msgProhibited
	case faultNoActions:
		return msgNoActions
	case faultNoPrincipal, faultEmptyPrincipal:
		return msgNoPrincipal
	case faultNoResources:
		return msgNoResources
	case faultControl:
		return "%s"
	case faultResource:
		return msgResource
	case faultPartition:
		return msgPartition
	case faultResVendor:
		return msgResVendor
	case faultRegion:
		return msgRegion
	case faultRegionIAM:
		return msgRegionIAM
	case faultPathIAM:
		return msgPathIAM
	case faultVendor:
		return msgVendor
	case faultOneColon:
		return msgOneColon
	case faultVendorName:
		return msgVendorName
	case faultTrustAction:
		return msgTrustActions
	case faultPrincipal:
		return msgPrincipalIAM
	default:
		return msgSyntax
	}
}

// textS3 is text for the policy of a bucket.
func (f fault) textS3() string {
	switch f {
	case faultJSON:
		return msgJSON
	case faultFirstByte:
		return msgFirstByteS3
	case faultVersion:
		return msgVersionS3
	case faultNoStatement:
		return fmt.Sprintf(msgMissingS3, "Statement")
	case faultEmptyStatement:
		return msgEmptyStatementS3
	case faultUnknownElement, faultProhibited:
		return msgUnknownS3
	case faultNoEffect:
		return fmt.Sprintf(msgMissingS3, "Effect")
	case faultEffect:
		return msgEffectS3
	case faultOperator:
		return msgOperatorS3
	case faultAddress:
		return msgAddressS3
	case faultSidUnique:
		return msgSidUniqueS3
	case faultNoActions:
		return fmt.Sprintf(msgMissingS3, "Action")
	case faultNoPrincipal:
		return fmt.Sprintf(msgMissingS3, "Principal")
	case faultEmptyPrincipal:
		return msgEmptyPrincipalS3
	case faultNoResources:
		return fmt.Sprintf(msgMissingS3, "Resource")
	case faultVendor, faultOneColon, faultVendorName:
		return msgActionS3
	case faultResource, faultPartition, faultResVendor, faultRegion, faultRegionIAM, faultPathIAM, faultLegacy:
		return msgResourceS3
	case faultPrincipal:
		return msgPrincipalS3
	case faultScope:
		return msgScopeS3
	default:
		return msgSyntaxS3
	}
}

// malformed makes the error for a fault. The arguments go into AWS's message,
// as far as it takes them; the detail is ours.
func (g *grammar) malformed(f fault, detail string, args ...any) *MalformedError {
	text := f.text(g.kind)
	message := fmt.Sprintf(text, args[:min(len(args), strings.Count(text, "%s"))]...)
	return &MalformedError{Message: cutText(message, maxMessage), Detail: cutText(detail, maxMessage), fault: f}
}

// maxMessage is how much of a document an error can quote, in bytes.
const maxMessage = 1024

// cutText cuts a text to size bytes, between characters.
func cutText(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size] + "…"
}

// note keeps a fault that does not end the reading, while the rest of the
// document is looked at: what counts is the first of the gravest kind.
func (g *grammar) note(f fault, detail string, args ...any) {
	if g.worst != nil && g.worst.fault <= f {
		return
	}
	if detail != "" {
		detail = fmt.Sprintf("statement %d: %s", g.index, detail)
	}
	g.worst = g.malformed(f, detail, args...)
}
