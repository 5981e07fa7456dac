package lint

// Code names a rule.
type Code string

// The rules. docs/policy-lint.md explains each, with an example.
const (
	MalformedPolicy          Code = "malformed-policy"
	UnknownAction            Code = "unknown-action"
	UnknownService           Code = "unknown-service"
	PatternMatchesNothing    Code = "pattern-matches-nothing"
	NeedsNoPermission        Code = "needs-no-permission"
	ActionWithoutKey         Code = "action-without-key"
	ActionOfOtherService     Code = "action-of-other-service"
	NotInKeyPolicy           Code = "not-in-key-policy"
	KeyPolicyResource        Code = "key-policy-resource"
	StatementWithoutResource Code = "statement-without-resource"
	KeyPolicyLockout         Code = "key-policy-lockout"
	AllowsEverybody          Code = "allows-everybody"
	ImpossibleARN            Code = "impossible-arn"
	ActionTakesNoResource    Code = "action-takes-no-resource"
	ActionFitsNoResource     Code = "action-fits-no-resource"
	ResourceFitsNoAction     Code = "resource-fits-no-action"
	UnknownConditionKey      Code = "unknown-condition-key"
	KeyNotInRequest          Code = "key-not-in-request"
	SetOperatorOnSingleValue Code = "set-operator-on-single-value"
	MissingSetOperator       Code = "missing-set-operator"
	OperatorType             Code = "operator-type"
	UnparsableValue          Code = "unparsable-value"
	ValueNeverMatches        Code = "value-never-matches"
	WildcardWithoutLike      Code = "wildcard-without-like"
	ViaService               Code = "via-service"
	PassedToService          Code = "passed-to-service"
	ContradictingConditions  Code = "contradicting-conditions"
	VariableWithoutVersion   Code = "variable-without-version"
	PrincipalNeverMatches    Code = "principal-never-matches"
	OrphanedPrincipal        Code = "orphaned-principal"
	ServicePrincipal         Code = "service-principal"
	NotPrincipalAllow        Code = "not-principal-allow"
	NotPrincipalAlone        Code = "not-principal-alone"
	ForAllValuesAllow        Code = "for-all-values-allow"
	DenyWithoutKey           Code = "deny-without-key"
	MFAKeyAbsent             Code = "mfa-key-absent"
	TrustAction              Code = "trust-action"
	TrustPrincipal           Code = "trust-principal"
	ControlPolicy            Code = "control-policy"
	ShadowedByDeny           Code = "shadowed-by-deny"
	DuplicateStatement       Code = "duplicate-statement"
)

// Codes lists every rule in the order of the document's elements.
func Codes() []Code {
	return []Code{
		MalformedPolicy,
		UnknownAction, UnknownService, PatternMatchesNothing, NeedsNoPermission,
		ActionWithoutKey, ActionOfOtherService, NotInKeyPolicy, KeyPolicyResource, StatementWithoutResource, KeyPolicyLockout, AllowsEverybody,
		ImpossibleARN, ActionTakesNoResource, ActionFitsNoResource, ResourceFitsNoAction,
		UnknownConditionKey, KeyNotInRequest, SetOperatorOnSingleValue, MissingSetOperator, OperatorType, UnparsableValue,
		ValueNeverMatches, WildcardWithoutLike, ViaService, PassedToService, ContradictingConditions, VariableWithoutVersion,
		PrincipalNeverMatches, OrphanedPrincipal, ServicePrincipal, NotPrincipalAllow, NotPrincipalAlone,
		ForAllValuesAllow, DenyWithoutKey, MFAKeyAbsent,
		TrustAction, TrustPrincipal, ControlPolicy, ShadowedByDeny, DuplicateStatement,
	}
}
